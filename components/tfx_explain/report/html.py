"""HTML elements: text is escaped where it enters, so that no name or value can become markup."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from typing import Final

from tfx_explain.report.formats import visible


class Html(str):
    """Text that is markup already; joined with plain text it is plain text again, and is escaped."""

    __slots__ = ()


def escaped(text: str) -> Html:
    """The text, safe between tags and within quoted attributes."""
    return text if isinstance(text, Html) else Html(html.escape(visible(text), quote=True))


def joined(parts: Iterable[str]) -> Html:
    """The parts one after another, each escaped unless it is markup."""
    return Html("".join(map(escaped, parts)))


def prose(text: str) -> Html:
    """A sentence; what stands in it between backticks is code."""
    parts = text.split("`")
    if len(parts) % 2 == 0:  # one is not closed
        return escaped(text)
    return joined(tag("code", part) if i % 2 else part for i, part in enumerate(parts))


def tag(name: str, *children: str, **attributes: str) -> Html:
    """An element; attribute names may end in `_` where Python reserves the word."""
    opening = "".join(f' {key.rstrip("_")}="{escaped(value)}"' for key, value in attributes.items())
    return Html(f"<{name}{opening}>{joined(children)}</{name}>")


def table(header: Sequence[str], rows: Iterable[Sequence[str]], *, numeric: Iterable[int] = ()) -> Html:
    """A table; the columns `numeric` are set to the right."""
    right = frozenset(numeric)
    kinds = ["number" if i in right else "text" for i in range(len(header))]
    head = tag("thead", tag("tr", *(tag("th", text, class_=kind) for text, kind in zip(header, kinds, strict=True))))
    body = (tag("tr", *(tag("td", cell, class_=kind) for cell, kind in zip(row, kinds, strict=True))) for row in rows)
    return tag("table", head, tag("tbody", *body))


def folded(title: str, *children: str, shut: bool = True) -> Html:
    """Content behind its title, which opens and closes it without a script."""
    state = {} if shut else {"open": "open"}
    return tag("details", tag("summary", title), *children, **state)


def page(title: str, *sections: str) -> str:
    """A whole document that loads nothing and runs no script."""
    head = joined(
        (
            Html('<meta charset="utf-8">'),
            Html('<meta name="viewport" content="width=device-width, initial-scale=1">'),
            Html(f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'),
            tag("title", title),
            Html(f"<style>{_STYLE}</style>"),
        )
    )
    body = tag("body", tag("main", *sections))
    return f'<!DOCTYPE html>\n<html lang="en"><head>{head}</head>{body}</html>\n'


_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"

_STYLE: Final = """
:root { color-scheme: light; --ink: #1c2430; --soft: #5b6675; --line: #dde2e8; --good: #14713d; --bad: #b3261e;
  --warn: #8a5a00; }
* { box-sizing: border-box; }
body { margin: 0; background: #f4f6f8; color: var(--ink);
  font: 15px/1.5 "Liberation Sans", Arial, Helvetica, sans-serif; }
main { max-width: 1280px; margin: 0 auto; padding: 24px 24px 64px; }
h1 { margin: 0; font-size: 26px; line-height: 1.25; }
h2 { margin: 36px 0 8px; font-size: 18px; }
p { margin: 6px 0; max-width: 90ch; }
ol, ul { margin: 10px 0 0; padding-left: 24px; }
li { margin: 6px 0; max-width: 90ch; }
code { font: 13px "Liberation Mono", Menlo, Consolas, monospace; overflow-wrap: anywhere; }
a { color: inherit; }
pre { margin: 6px 0; padding: 8px 12px; overflow-x: auto; background: #fff; border: 1px solid var(--line);
  border-radius: 6px; }
.banner { padding: 18px 22px; border-radius: 8px; border-left: 8px solid var(--soft); background: #fff; }
.banner.good { border-color: var(--good); background: #e9f5ee; }
.banner.good h1 { color: var(--good); }
.banner.bad { border-color: var(--bad); background: #fdecea; }
.banner.bad h1 { color: var(--bad); }
.banner.bad li { font-size: 16px; }
.soft, .note { color: var(--soft); }
.note { font-size: 13px; }
.warning { padding: 8px 14px; border-left: 4px solid var(--warn); background: #fff6e0; }
.wide { overflow-x: auto; background: #fff; border: 1px solid var(--line); border-radius: 8px; }
figure { margin: 0; padding: 12px; background: #fff; border: 1px solid var(--line); border-radius: 8px; }
figure svg { display: block; max-width: 100%; height: auto; overflow: visible; }
table { width: 100%; border-collapse: collapse; font-size: 13px; font-variant-numeric: tabular-nums; }
th, td { padding: 6px 7px; border-bottom: 1px solid var(--line); vertical-align: top; }
td, li, p, h1 { white-space: pre-line; overflow-wrap: anywhere; }
th { background: #eef1f4; text-align: left; vertical-align: bottom; font-weight: 600; }
tbody tr:last-child td { border-bottom: 0; }
th.number, td.number { text-align: right; }
td.number { white-space: pre; }
td.text { min-width: 60px; }
.features td:first-child { min-width: 180px; }
.features td:last-child { min-width: 60px; }
.checks td:first-child { overflow-wrap: normal; white-space: nowrap; }
.checks td:nth-child(2) { white-space: pre; }
.checks td.text:nth-child(3) { min-width: 125px; }
.checks td:last-child { min-width: 330px; }
.slices td.text { min-width: 210px; }
.values { width: fit-content; max-width: 100%; }
.values td { white-space: nowrap; }
details { margin: 10px 0; }
summary { padding: 4px 0; cursor: pointer; font-weight: 600; }
details details { margin: 0; padding: 0 14px 6px; }
details details summary { font-size: 13px; font-weight: 400; }
.map { display: inline-block; margin: 6px 14px 6px 0; vertical-align: top; font-size: 13px; }
.map p { max-width: 90ch; }
.tokens span { padding: 1px 3px; border-radius: 3px; }
.legend { padding: 0 0 10px; font-size: 13px; }
.legend span { display: inline-block; margin-right: 22px; }
.legend svg { display: inline; margin-right: 6px; }
.badge { display: inline-block; padding: 0 8px; border-radius: 10px; font-size: 12px; font-weight: 700;
  white-space: nowrap; color: #fff; background: var(--soft); }
.badge.good { background: var(--good); }
.badge.bad { background: var(--bad); }
.badge.warn { background: #fff; color: var(--warn); box-shadow: inset 0 0 0 1.5px var(--warn); }
.facts td:first-child { width: 220px; color: var(--soft); }
@media (max-width: 600px) {
  main { padding: 12px 10px 40px; }
  .banner { padding: 14px; }
  table { width: max-content; min-width: 100%; }
  td { max-width: 330px; }
  .checks td:first-child, .checks th:first-child { position: sticky; left: 0; background: #eef1f4; }
}
@media print { body { background: #fff; } }
"""
