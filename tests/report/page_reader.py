"""Reads a page as a browser would: its text in order, its elements and its attributes."""

import html.parser

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
