"""The card of a file: what `<file>.json` beside it tells, as long as its checksum is the file's."""

from __future__ import annotations

import hashlib
import json
import math
import time
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ignite_kd import recipes
from ignite_kd.errors import UserError
from ignite_kd.files import atomic_write, check_writable, digest_of
from ignite_kd.finite import finite

__all__ = [
    "accuracy_in", "accuracy_of", "ancestry", "any_card", "card_of_run", "card_path", "check_place", "epochs_of",
    "origin_of", "read_card", "save_with_card", "seen_by", "spent_on",
]  # fmt: skip

# what others rely on; the rest of a card is for people
_KINDS: dict[str, Any] = {"model": str, "num_classes": int, "dataset": str, "data": dict, "results": dict}
_KINDS |= {"data.digest": str, "data.split": dict, "image_size": int, "views": str, "quirks": dict, "precision": str}
_KINDS |= {"which": str, "device": str, "results.validation": dict, "results.test": dict}
_KINDS |= {"epochs": int, "epoch": int, "recipe_changes": dict, "minutes": (int, float), "loss": list, "run": str}
_KINDS |= {"started_from": dict, "started_from.card": dict, "status": str}

_WORDS: dict[Any, str] = {str: "a text", int: "a number", (int, float): "a number", dict: "an object", list: "a list"}


def read_card(path: str | Path) -> dict[str, Any] | None:
    """The card beside the file `path`; None where none is, or (with a warning) where it is another file's."""
    card = any_card(path)
    if card is not None and card.get("sha256") != digest_of(path):
        warnings.warn(f"{card_path(path)} is the card of another file than {path}: the checksums differ.", stacklevel=2)
        return None
    return card


def any_card(path: str | Path) -> dict[str, Any] | None:
    """The card beside the file `path`, be it of that file or not; an error where it is damaged."""
    beside = card_path(path)
    try:
        card = json.loads(beside.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UserError(f"cannot read {beside}: {error.strerror}; check its permissions.") from None
    except (ValueError, RecursionError):
        card = None
    problem = "it is no JSON object" if not isinstance(card, dict) else _problem(card)
    if problem:
        raise UserError(f"{beside} is damaged: {problem}; restore it, or delete it to go on without a card.")
    return card  # type: ignore[no-any-return]


def card_path(path: str | Path) -> Path:
    """Where the card of the file `path` is."""
    return Path(f"{path}.json")


def check_place(path: str | Path) -> None:
    """Refuse, before hours of training, a file that could not be written in the end, or whose card would be written
    over what is none."""
    check_writable(path)
    beside = card_path(path)
    try:
        there = json.loads(beside.read_bytes())
    except (OSError, ValueError, RecursionError):  # nothing, or a card that was damaged
        there = {"sha256": None}
    if beside.name == "run.json" or not (isinstance(there, dict) and "sha256" in there):
        raise UserError(f"the card of {path} would be written over {beside}, which is none; name another file.")


def card_of_run(record: Mapping[str, Any], folder: str | Path) -> dict[str, Any]:
    """The card of weights that the run in `folder` made, from its record (`run.json`)."""
    plan, data = record["plan"], record["data"]
    return {
        "model": plan["student"],
        "num_classes": data["classes"],
        "dataset": plan["dataset"],
        "data": data,
        "image_size": record.get("image_size"),
        "views": plan["recipe"].get("views"),
        "recipe": plan["recipe"]["name"],
        "recipe_changes": recipes.changes_of(plan["recipe"]),
        "quirks": record["quirks"],
        "loss": [f"{t['factor']:g} {t['method']} {t['options'] or ''}".strip() for t in plan["terms"] if t["factor"]],
        "teacher": plan["teacher"],
        "started_from": record.get("started_from"),
        "epochs": plan["max_epochs"],
        "seed": plan["seed"],
        "precision": plan["precision"],
        "results": record.get("results", {}),
        "command": plan["command"],
        "device": record.get("device"),
        "minutes": round(record["seconds"] / 60, 2) if "seconds" in record else None,
        "versions": record["versions"],
        "earlier": record.get("earlier", []),
        "date": time.strftime("%Y-%m-%d"),
        "run": str(folder),
    }


def save_with_card(path: str | Path, content: bytes, card: Mapping[str, Any]) -> Path | None:
    """Write the file `path`, and beside it `<path>.json`: its card and checksum.

    Another file that stands there is copied, with its card, to `<path>.previous`, or `.previous-2`, … where that is
    taken: hours of training do not go because a short run used the same name twice. Returns where, or None. A crash
    leaves the old file or the new one; a card that is then of the other one is noticed by its checksum.
    """
    path, digest = Path(path), hashlib.sha256(content).hexdigest()
    kept = _keep(path) if path.exists() and digest_of(path) != digest else None
    atomic_write(path, content)
    told = json.dumps(finite({**card, "sha256": digest}), indent=2, ensure_ascii=False, default=str)
    atomic_write(card_path(path), told + "\n")
    return kept


def origin_of(path: str) -> dict[str, Any]:
    """What a card tells of the weights that a training started from: they may be written over afterwards."""
    return {"file": str(path), "sha256": digest_of(path), "card": read_card(path)}


def ancestry(card: Mapping[str, Any] | None) -> Iterator[Mapping[str, Any] | None]:
    """A card, that of the weights that its training started from, theirs, …; None where one of them has no card."""
    while card is not None:
        yield card
        if not card.get("started_from"):
            return
        card = card["started_from"].get("card")
    yield None


def seen_by(card: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """What a card, and each of its ancestry, says of the data that it learned from: {} where it says nothing."""
    return [dict((member or {}).get("data") or {}) for member in ancestry(card)]


def epochs_of(card: Mapping[str, Any]) -> int | None:
    """Epochs that the weights were trained, not those that were planned; None where nobody says it."""
    if card.get("epoch") is not None:
        return int(card["epoch"])
    return card.get("epochs") if card.get("status") in (None, "finished") else None


def spent_on(card: Mapping[str, Any]) -> tuple[int, float]:
    """Epochs and minutes of training, with those of the weights that it started from; 0 where that is not known."""
    known = [member for member in ancestry(card) if member is not None]
    return sum(epochs_of(member) or 0 for member in known), sum(float(member.get("minutes") or 0) for member in known)


def accuracy_of(card: Mapping[str, Any], part: str) -> float | None:
    """The accuracy that a card claims on `test` or `validation`; None where it claims none."""
    return accuracy_in(card.get("results"), part, card.get("which") or "last")


def accuracy_in(results: Any, part: str, which: str) -> float | None:
    """The accuracy of the `last` or the `best` epoch that results hold; None where they hold none."""
    result = results
    for key in (part, which):
        result = result.get(key) if isinstance(result, dict) else None
    result = result.get("accuracy") if isinstance(result, dict) else result
    return float(result) if isinstance(result, (int, float)) and math.isfinite(result) else None


def _problem(card: dict[str, Any]) -> str | None:
    for name, kind in _KINDS.items():
        value: Any = card
        for key in name.split("."):
            value = value.get(key) if isinstance(value, dict) else None
        if value is not None and not (isinstance(value, kind) and _is_finite(value)):
            return f"its {name} should be {_WORDS[kind]}, not {str(value)[:40]!r}"
    before = (card.get("started_from") or {}).get("card")
    problem = _problem(before) if before else None
    return problem and f"in what it started from, {problem}"


def _is_finite(value: Any) -> bool:
    return not isinstance(value, float) or math.isfinite(value)


def _keep(path: Path) -> Path:
    """Copy file and card to the first free name; copied, not moved, so that `path` is there at every instant."""
    number = 1
    while (kept := path.with_name(f"{path.name}.previous{f'-{number}' if number > 1 else ''}")).exists():
        number += 1
    card = card_path(path)
    card_path(kept).unlink(missing_ok=True)
    if card.exists():
        atomic_write(card_path(kept), card.read_bytes())
    atomic_write(kept, path.read_bytes())
    return kept
