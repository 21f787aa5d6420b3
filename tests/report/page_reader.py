"""Reads a page as a browser would: its text in order, its elements and its attributes."""

import html.parser
import urllib.parse
import urllib.request
from pathlib import Path

VOID = {"meta", "br", "hr", "img", "link", "input"}


class Page(html.parser.HTMLParser):
    """Text outside `style`, rows of table cells, and every element; raises where tags do not close in order."""

    def __init__(self, text: str):
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.rows: list[list[str]] = []
        self.pieces: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        if self._open:
            raise ValueError(f"left open: {self._open}")

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.pieces).split())

    @property
    def names(self) -> set[str]:
        return {name for name, _ in self.elements}

    def links_from(self, page: Path) -> list[Path]:
        """The files that its links lead to, followed from where it lies; raises where one leads to no file or place."""
        linked = [attributes["href"] for name, attributes in self.elements if name == "a"]
        lost = {href[1:] for href in linked if href[0] == "#"} - {
            attributes.get("id") for _, attributes in self.elements
        }
        if lost:
            raise ValueError(f"no element has the id: {lost}")
        hrefs = [href for href in linked if href[0] != "#"]
        urls = [urllib.parse.urlsplit(urllib.parse.urljoin(page.absolute().as_uri(), href)) for href in hrefs]
        if any((url.scheme, url.netloc, url.query, url.fragment) != ("file", "", "", "") for url in urls):
            raise ValueError(f"a link leads to no file: {hrefs}")
        return [Path(urllib.request.url2pathname(url.path)) for url in urls]

    def row(self, first: str) -> list[str]:
        """The only table row whose first cell is `first`."""
        (found,) = [row for row in self.rows if row and row[0] == first]
        return found

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        if self._open.pop() != tag:
            raise ValueError(f"{tag} closes out of order")

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data):
        if "style" in self._open:
            return
        self.pieces.append(data)
        if "td" in self._open or "th" in self._open:
            self.rows[-1][-1] += data
