"""An operation as sentences call it."""

from typing import NamedTuple


class NamedOperation(NamedTuple):
    """An operation of a graph.

    Attributes:
        operation: its type, such as `GreaterEqual`.
        name: its name in the graph.
    """

    operation: str
    name: str

    def __str__(self) -> str:
        return f"{self.operation} ({self.name!r})"
