"""A page of HTML that needs nothing else: no script, no network, light and dark, wide and narrow."""

from __future__ import annotations

import base64
import struct
from collections.abc import Iterable, Sequence
from html import escape

from ignite_kd.concepts.drawing import Picture

__all__ = ["details", "figure", "items", "page", "paragraph", "section", "table"]

_DOTS = 120 / 96  # of the PNGs to an inch, to those that a page counts

_STYLE = """
:root { color-scheme: light dark; --ground: #fff; --ink: #1c1c1c; --soft: #5c5c5c; --line: #d5d5d5; --box: #f5f5f3;
        --shade: rgb(0 0 0 / .3); }
@media (prefers-color-scheme: dark) {
  :root { --ground: #161618; --ink: #e8e8e6; --soft: #a9a9a9; --line: #3d3d42; --box: #212125;
          --shade: rgb(255 255 255 / .35); }
}
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 66rem; padding: 1rem; background: var(--ground); color: var(--ink);
       font: 16px/1.5 system-ui, sans-serif; overflow-wrap: break-word; }
h1 { font-size: 1.6rem; line-height: 1.2; } h2 { font-size: 1.25rem; margin-top: 2.2rem; } h3 { font-size: 1.05rem; }
p, li { max-width: 46rem; }
/* Where more is to be scrolled to, an edge is shaded: covers move with the table, and shades lie still below them. */
.wide { width: fit-content; max-width: 100%; overflow-x: auto; border: 1px solid var(--line); border-radius: 6px;
        background-repeat: no-repeat;
        background-image: linear-gradient(90deg, var(--ground) 30%, transparent),
          linear-gradient(270deg, var(--ground) 30%, transparent),
          linear-gradient(90deg, var(--shade), transparent), linear-gradient(270deg, var(--shade), transparent);
        background-position: left, right, left, right; background-attachment: local, local, scroll, scroll;
        background-size: 3rem 100%, 3rem 100%, 1rem 100%, 1rem 100%; }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; }
th, td { padding: .4rem .7rem; text-align: left; vertical-align: top; border-bottom: 1px solid var(--line); }
td { white-space: nowrap; } td.words { white-space: normal; min-width: 9rem; max-width: 34rem; }
thead th { white-space: nowrap; } thead tr { border-bottom: 1px solid var(--soft); }
tbody th { min-width: 6rem; max-width: 20rem; } tr:last-child > * { border-bottom: 0; }
small, .note, figcaption { color: var(--soft); font-size: .85rem; }
td small, th small { display: block; font-weight: 400; }
@media (min-width: 50rem) { tbody th { max-width: none; white-space: nowrap; } }
.verdict { font-weight: 600; }
details { margin: 1rem 0; } summary { cursor: pointer; } details > :nth-child(2) { margin-top: .7rem; }
.pictures { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 26rem), 1fr)); gap: 1.2rem; }
figure { margin: 0; padding: .7rem; background: var(--box); border-radius: 6px; }
img { display: block; max-width: 100%; height: auto; margin: 0 auto .5rem; background: #fff; border-radius: 4px; }
"""


def page(title: str, parts: Iterable[str]) -> str:
    """The whole document, of parts that are HTML already."""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n"
        '<link rel="icon" href="data:,">\n'  # a browser would ask a server for one
        f"<style>{_STYLE}</style>\n</head>\n<body>\n<main>\n<h1>{escape(title)}</h1>\n"
        + "\n".join(parts)
        + "\n</main>\n</body>\n</html>\n"
    )


def section(title: str, *parts: str) -> str:
    return "\n".join([f"<section>\n<h2>{escape(title)}</h2>", *(part for part in parts if part), "</section>"])


def details(summary: str, *parts: str) -> str:
    """Closed, for who wants to know it all."""
    return "\n".join([f"<details>\n<summary>{escape(summary)}</summary>", *parts, "</details>"])


def paragraph(text: str, kind: str | None = None) -> str:
    return f"<p{_class(kind)}>{escape(text)}</p>" if text else ""


def items(lines: Iterable[tuple[str, str, str]]) -> str:
    """(who, its verdict, why)."""
    rows = (f'<li>{escape(a)}: <span class="verdict">{escape(b)}</span>. {escape(c)}</li>' for a, b, c in lines)
    return "<ul>\n" + "\n".join(rows) + "\n</ul>"


def table(
    label: str, head: Sequence[str], rows: Sequence[Sequence[str | tuple[str, str]]], kind: str | None = None
) -> str:
    """In a box that scrolls by itself; the first cell of a row names it; a pair is a cell and a second line in it.

    Args:
        label: says aloud what the box holds, which the keyboard reaches.
        kind: class of the cells.
    """
    lines = [f'<div class="wide" role="region" aria-label="{escape(label)}" tabindex="0">\n<table>']
    if head:
        titles = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in head)
        lines.append(f"<thead><tr>{titles}</tr></thead>")
    lines.append("<tbody>")
    for name, *cells in rows:
        row = "".join(f"<td{_class(kind)}>{_cell(cell)}</td>" for cell in cells)
        lines.append(f'<tr><th scope="row">{_cell(name)}</th>{row}</tr>')
    return "\n".join([*lines, "</tbody>\n</table>\n</div>"])


def figure(picture: Picture) -> str:
    """The picture itself, not a link to it."""
    content = picture.path.read_bytes()
    width, height = (round(dots / _DOTS) for dots in _size(content))
    encoded = base64.b64encode(content).decode()
    return (
        f'<figure>\n<img src="data:image/png;base64,{encoded}" alt="{escape(picture.alt)}" '
        f'width="{width}" height="{height}">\n'
        f"<figcaption><strong>{escape(picture.title)}.</strong> {escape(picture.reading)}</figcaption>\n</figure>"
    )


def _size(png: bytes) -> tuple[int, int]:
    """Of a PNG, from its header."""
    width, height = struct.unpack(">II", png[16:24])
    return width, height


def _cell(content: str | tuple[str, str]) -> str:
    if isinstance(content, str):
        return escape(content)
    return f"{escape(content[0])}<small>{escape(content[1])}</small>"


def _class(kind: str | None) -> str:
    return f' class="{kind}"' if kind else ""
