"""What there is, in rows of words: methods, models, data sets and recipes with the numbers one chooses by."""

from __future__ import annotations

import re
from collections.abc import Sequence

__all__ = ["datasets", "methods", "models", "recipes", "table"]

_IN_MEMORY = {
    "cifar10": ("50,000", "10,000", "10", "32×32", "Krizhevsky, 2009; downloaded by torchvision"),
    "cifar100": ("50,000", "10,000", "100", "32×32", "Krizhevsky, 2009; downloaded by torchvision"),
}


def methods() -> list[list[str]]:
    """Every head; other codes' words for it; its published factor in the benchmark; whether it couples a batch."""
    from ignite_kd import heads
    from ignite_kd.bench import measured_costs
    from ignite_kd.recipes import crd
    from ignite_kd.terms import ALIASES

    rows = [["method", "also", "factor", "cost", "couples", "paper; options"]]
    costs = measured_costs()
    for name in heads.names():
        head, factor = heads.kind(name), crd.factor_of(name)
        also = [word for word, method in ALIASES.items() if method == name]
        options = ", ".join(f"{option}={_value(default)}" for option, default in heads.options(name).items())
        couples = "batch" if head.couples_batch else ""
        shown = "" if factor is None else f"{factor:g}"
        cost = f"{costs[name]:.0%}" if name in costs else ""
        told = "; ".join(words for words in (_short(head.paper), options) if words)
        rows.append([name, ", ".join(also), shown, cost, couples, told])
    return rows


def models() -> list[list[str]]:
    """Every listed network, with its cost for 32×32 images and 100 classes."""
    import torch

    from ignite_kd import models

    rows = [["model", "parameters", "MACs", "paper"]]
    for name in models.names():
        with torch.device("meta"):  # no random numbers
            model = models.build(name, num_classes=100)
        cost = f"{models.macs(model):,}"
        rows.append([name, f"{models.parameters(model):,}", cost, _paper_of(type(model).__doc__ or "")])
    return rows


def datasets() -> list[list[str]]:
    """Every data set with its size."""
    from ignite_kd import data
    from ignite_kd.data.shapes import FORMS, SIZE, TEST, TRAIN

    known = {
        **_IN_MEMORY,
        "shapes": (f"{TRAIN:,}", f"{TEST:,}", str(len(FORMS)), f"{SIZE}×{SIZE}", "drawn here; no download"),
        "folder": ("yours", "yours", "yours", "any", "train/<class>/…, val/<class>/… and perhaps test/<class>/…"),
    }
    rows = [["data set", "train", "test", "classes", "size", "source"]]
    return rows + [[name, *known.get(name, ("", "", "", "", ""))] for name in data.names()]


def recipes() -> list[list[str]]:
    """Every recipe with what is most often asked of it."""
    from ignite_kd import recipes

    rows = [["recipe", "batch", "lr", "epochs", "schedule", "source"]]
    for recipe in map(recipes.get, recipes.names()):
        rate = f"{recipe.learning_rate:g}"
        if recipe.light_learning_rate:
            rate += f" ({recipe.light_learning_rate:g})"
        schedule = {
            "steps": f"× {recipe.decay:g} after {', '.join(map(str, recipe.milestones))}",
            "one-cycle": "up, then down to 0",
            "log-space": f"down {recipe.decades:g} powers of 10",
            "plateau": f"× {recipe.decay:g} on a plateau",
        }[recipe.schedule]
        rows.append([recipe.name, str(recipe.batch_size), rate, str(recipe.epochs), schedule, recipe.source])
    return rows


def table(rows: Sequence[Sequence[str]], width: int = 120) -> list[str]:
    """Aligned lines of at most `width` characters: numbers to the right, and the last column goes on below itself."""
    import textwrap

    columns = list(zip(*rows, strict=True))
    widths = [max(map(len, column)) for column in columns[:-1]]
    right = [all(re.match(r"[\d.,%]*$", cell) for cell in column[1:]) for column in columns[:-1]]
    start = sum(size + 2 for size in widths)
    lines = []
    for row in rows:
        cells = zip(row[:-1], widths, right, strict=True)
        begin = "".join((cell.rjust(size) if to_right else cell.ljust(size)) + "  " for cell, size, to_right in cells)
        first, *others = textwrap.wrap(row[-1], width - start, break_long_words=False) or [""]
        lines += [(begin + first).rstrip(), *(" " * start + other for other in others)]
    return lines


def _value(default: object) -> str:
    return "auto" if default is None else str(default)


def _paper_of(docstring: str) -> str:
    """The first paper in a docstring: `Authors: "Title", year, arXiv:…` or `(Authors, year, arXiv:…)`."""
    text = " ".join(docstring.split())
    author = r"[A-Z]\w+(?:,? [A-Z]\w+| et al\.)*"
    patterns = (rf'({author}): "[^"]+", (\d{{4}}), (arXiv:[\d.]+\d)', rf"({author}), (\d{{4}}),? \(?(arXiv:[\d.]+\d)")
    found = [match for pattern in patterns if (match := re.search(pattern, text))]
    return _short(", ".join(min(found, key=lambda match: match.start()).groups())) if found else ""


def _short(paper: str) -> str:
    """ "Hinton, Vinyals, Dean, 2015, arXiv:…" → "Hinton et al., 2015, arXiv:…"."""
    parts = paper.split(", ")
    authors = [part for part in parts if re.match(r"\D+$", part)]
    if len(authors) < 3 or parts[: len(authors)] != authors:
        return paper
    return ", ".join([f"{authors[0]} et al.", *parts[len(authors) :]])
