"""Tables that read well as Markdown and in a terminal."""

from __future__ import annotations

from collections.abc import Collection, Sequence

__all__ = ["table"]


def table(head: Sequence[str], rows: Sequence[Sequence[str]], words: Collection[int]) -> list[str]:
    """Aligned Markdown; columns of `words` to the left, numbers to the right."""
    cells = [[cell.replace("|", "\\|") for cell in row] for row in (head, *rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    aligned = [
        "| " + " | ".join(f"{cell:{'<' if i in words else '>'}{widths[i]}}" for i, cell in enumerate(row)) + " |"
        for row in cells
    ]
    rule = "|" + "|".join(
        "-" * (width + 2) if i in words else "-" * (width + 1) + ":" for i, width in enumerate(widths)
    )
    return [aligned[0], f"{rule}|", *aligned[1:]]
