"""Look for links of the site that lead nowhere.

python tools/check_site.py dist/site    each page, and each place in a page, that a page links to
"""

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


class Page(HTMLParser):
    """What a page links to, and the places that it has.

    Attributes:
        links: As they stand.
        places: What can follow a ``#``.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: set[str] = set()
        self.places: set[str] = set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take what a tag has of both."""
        for name, value in attrs:
            if value is None:
                continue
            if name in {"href", "src"} and tag != "base":
                self.links.add(value)
            elif name == "id" or (tag == "a" and name == "name"):
                self.places.add(value)


def main() -> None:
    """Print each dead link with its page."""
    site = Path(sys.argv[1]).resolve()
    pages = {path: Page(path) for path in site.rglob("*.html") if "_static" not in path.parts}
    assert pages, f"{site} has no page"
    dead = [
        f"{path.relative_to(site)}: {link}"
        for path, page in sorted(pages.items())
        for link in sorted(page.links)
        if not leads_somewhere(path, link, pages)
    ]
    print(f"{len(pages)} pages, {sum(len(page.links) for page in pages.values())} links")
    if dead:
        sys.exit("\n".join(dead))


def leads_somewhere(path: Path, link: str, pages: dict[Path, Page]) -> bool:
    """Whether a link within the site has its page and its place; others are not asked for."""
    parts = urlsplit(link)
    if parts.scheme or parts.netloc:
        return True
    target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
    if target.is_dir():
        target /= "index.html"
    if not target.exists():
        return False
    place = unquote(parts.fragment)
    return not place or target not in pages or place in pages[target].places


main()
