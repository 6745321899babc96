"""What the pages of other projects define, where these can be reached; an extension of Sphinx.

A build without a network links to no other project, and is as strict about all other references.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from sphinx.util import logging

if TYPE_CHECKING:
    from sphinx.application import Sphinx
    from sphinx.config import Config

log = logging.getLogger(__name__)

PROJECTS = {
    "python": "https://docs.python.org/3",
    "numpy": "https://numpy.org/doc/stable",
    "jax": "https://docs.jax.dev/en/latest",
    "optax": "https://optax.readthedocs.io/en/latest",
}
PATIENCE = 3.0
"""In seconds, for a host to answer."""


def setup(app: Sphinx) -> dict[str, Any]:
    """Take part in the build."""
    app.connect("config-inited", keep_those_that_answer)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def keep_those_that_answer(app: Sphinx, config: Config) -> None:
    """Hand the projects to intersphinx, less those that it would warn of."""
    found = {name: (url, None) for name, url in PROJECTS.items() if _answers(url)}
    config.intersphinx_mapping = found
    config.intersphinx_timeout = 30
    for name in PROJECTS.keys() - found:
        log.info("no links to %s: its host does not answer", name)


def _answers(url: str) -> bool:
    try:
        socket.create_connection((str(urlsplit(url).hostname), 443), PATIENCE).close()
    except OSError:
        return False
    return True
