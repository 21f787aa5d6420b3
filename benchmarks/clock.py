"""Clock: CPU time of a process by item, each moment counted once, for the innermost item that it belongs to."""

from __future__ import annotations

import contextlib
import functools
import inspect
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

_PACKAGE = "tfx_explain"


class Clock:
    """Sums CPU seconds by item; for work that one thread does in turn, whatever threads TensorFlow has beside it.

    Attributes:
      seconds: by item.
    """

    def __init__(self) -> None:
        self.seconds: Counter[str] = Counter()
        self._open: list[str] = []
        self._since = 0.0

    @contextlib.contextmanager
    def item(self, name: str) -> Iterator[None]:
        """Counts what runs inside for an item, and no longer for the one around it."""
        self._switch()
        self._open.append(name)
        try:
            yield
        finally:
            self._switch()
            self._open.pop()

    def _switch(self) -> None:
        now = time.process_time()
        if self._open:
            self.seconds[self._open[-1]] += now - self._since
        self._since = now

    def of(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """A function that is counted; what it would yield is made at once."""
        lazy = inspect.isgeneratorfunction(function)

        @functools.wraps(function)
        def counted(*arguments: Any, **options: Any) -> Any:
            with self.item(name):
                out = function(*arguments, **options)
                return list(out) if lazy else out

        return counted

    @contextlib.contextmanager
    def watching(self, items: Sequence[tuple[str, Any, str]]) -> Iterator[None]:
        """Counts (item, module or class, function's name) while it is open.

        A module's function is replaced wherever the package has imported it, so that pickling still finds it by name.
        """
        undo: list[tuple[Any, str, Any]] = []
        for name, owner, attribute in items:
            original = inspect.getattr_static(owner, attribute)
            bound = isinstance(original, staticmethod | classmethod)
            counted = self.of(name, getattr(owner, attribute) if bound else original)
            holders = [(owner, attribute)]
            if inspect.ismodule(owner):
                modules = [m for n, m in list(sys.modules.items()) if n.split(".")[0] == _PACKAGE]
                holders += [(m, n) for m in modules for n, value in list(vars(m).items()) if value is original]
            for holder, key in dict.fromkeys(holders):
                undo.append((holder, key, original))
                setattr(holder, key, staticmethod(counted) if bound else counted)
        try:
            yield
        finally:
            for holder, key, original in reversed(undo):
                setattr(holder, key, original)
