"""How the site is built; ``make docs`` does it."""

import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tools" / "site"))

project = "gradmill"
author = "The gradmill authors"
copyright = author  # noqa: A001  (what Sphinx calls it)
release = tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["package"]["version"]

extensions = [
    *("sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.intersphinx", "sphinx.ext.mathjax"),
    *("myst_parser", "sphinx_copybutton", "sphinx_design", "sphinx-mathjax-offline"),
    *("gradmill_pages", "gallery", "inventories"),
]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
myst_enable_extensions = ["colon_fence", "dollarmath", "fieldlist"]
myst_heading_anchors = 3

# Docstrings are Google's, their annotations those of the sources.
napoleon_numpy_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
add_module_names = False
python_maximum_signature_line_length = 72
toc_object_entries = False
default_role = "literal"

# Prompts and outputs are not copied.
copybutton_prompt_text = r">>> |\.\.\. "
copybutton_prompt_is_regexp = True
copybutton_only_copy_prompt_lines = True

html_theme = "sphinx_book_theme"
html_title = f"gradmill {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sourcelink = False
html_theme_options = {
    "repository_url": "https://github.com/gradmill/gradmill",
    "use_repository_button": True,
    "show_navbar_depth": 1,
    "navbar_persistent": [],  # the search is at the side
    "show_toc_level": 2,
}
