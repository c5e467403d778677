"""What is to be compared: the folder of a run, or a file of weights with its card, read into one form."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ignite_kd.cards import epochs_of, read_card, seen_by, spent_on
from ignite_kd.errors import UserError
from ignite_kd.files import digest_of
from ignite_kd.handlers import RunRecord
from ignite_kd.layouts import Content, read
from ignite_kd.recognise import Known
from ignite_kd.trained import from_file, last_weights

__all__ = ["Run", "load_run", "load_teacher", "short_names", "teacher_of"]


@dataclass(frozen=True, kw_only=True)
class Run:
    """Weights, and what is known of how they came about; None, or nothing, where nobody says it."""

    path: str
    weights: str  # the file
    model: str
    content: Content
    known: Known | None
    dataset: str | None = None
    data: dict[str, Any] = field(default_factory=dict)  # digest, classes, split
    data_before: list[dict[str, Any]] = field(default_factory=list)  # of the weights that it started from, and theirs
    epochs_before: int = 0  # of these
    data_dir: str | None = None
    image_size: int | None = None
    normalisation: str = "dataset"
    views: str = "usual"  # how a folder's images are cut
    loss: str | None = None
    recipe: str | None = None  # its name
    seed: int | None = None
    precision: str | None = None
    device: str | None = None
    taught_by: str | None = None  # the teacher's network
    teacher: str | None = None  # its file
    teacher_sha256: str | None = None
    status: str | None = None
    which: str = "last"  # of its results, those of these weights
    epochs: int | None = None
    planned: int | None = None
    seconds: float | None = None
    results: dict[str, Any] = field(default_factory=dict)
    lines: list[dict[str, Any]] = field(default_factory=list)

    @property
    def is_taught(self) -> bool:
        return self.taught_by is not None or self.teacher is not None


def load_run(path: str, weights: bool = True) -> Run:
    """The run in the folder `path`, with its last `weights` or without any; or the weights in the file `path`."""
    if not Path(path).is_dir():
        return _of_file(path)
    try:
        return _of_folder(Path(path), weights)
    except UserError:
        raise
    except (KeyError, TypeError, AttributeError, ValueError):
        raise UserError(f"{Path(path) / 'run.json'} is damaged; restore it, or name another run.") from None


def load_teacher(path: str, student: Run) -> Run:
    """The teacher that a run's record names; what no card beside it tells, that record does."""
    return _of_file(path, student.taught_by, student.normalisation)


def teacher_of(run: Run) -> tuple[str | None, str | None]:
    """(the file of the teacher that the record names, what is the matter with it)."""
    if run.teacher is None:
        unnamed = f"{run.path}: its card does not say which {run.taught_by} taught it; name it with --teacher FILE"
        return None, unnamed if run.is_taught else None
    words = f"{run.path}: its teacher {run.teacher}"
    if not Path(run.teacher).is_file():
        return None, f"{words} is not there; name it with --teacher FILE"
    if run.teacher_sha256 not in (None, digest_of(run.teacher)):
        return None, f"{words} is another file now than when it taught; name the right one with --teacher FILE"
    return run.teacher, None


def short_names(paths: Sequence[str]) -> list[str]:
    """The ends of the paths, as long as it takes to tell them apart."""
    parts = [Path(path).absolute().parts for path in paths]
    length = 1
    while len({p[-length:] for p in parts}) < len(set(parts)):
        length += 1
    return ["/".join(p[-length:]) for p in parts]


def _of_folder(folder: Path, with_weights: bool) -> Run:
    record = RunRecord(folder).load()
    plan = record.get("plan")
    if not isinstance(plan, dict):
        runs = [*folder.glob("*/run.json"), *folder.glob("*/*/run.json")]  # the latter in the folder of a table
        inside = sorted(str(run.parent) for run in runs)
        advice = f"it holds runs: {', '.join(inside)}" if inside else "name one that a training command wrote"
        raise UserError(f"{folder} is no run's folder (no plan in run.json); {advice}.")
    lines = RunRecord(folder).read()
    if not with_weights:
        return Run(path=str(folder), weights="", content=Content({}), known=None, model=str(plan["student"]),
                   epochs=int(record.get("epochs") or len(lines)), **_recorded(record, lines))  # fmt: skip
    found = last_weights(folder, lambda torn: warnings.warn(f"{torn} is damaged and left out.", stacklevel=4))
    if found is not None:
        weights, content, epochs = found
    else:
        weights, epochs = Path(plan.get("state_dict_path") or ""), int(record.get("epochs") or len(lines))
        if not weights.is_file():
            raise UserError(f"{folder} holds no sound checkpoint, and the file of its weights is not there; train on.")
        card = read_card(weights)
        began = record.get("status") == "running"  # what lies there is of before
        if began if card is None else card.get("results") != record.get("results"):
            raise UserError(f"{folder} holds no sound checkpoint, and {weights} is another run's by now; train on.")
        content = read(weights)
    run = _recorded(record, lines)
    return Run(path=str(folder), weights=str(weights), content=content, known=None, epochs=epochs,
               model=str(plan["student"]), **run)  # fmt: skip


def _of_file(path: str, model: str | None = None, normalisation: str = "dataset") -> Run:
    card = read_card(path)
    option = 'in a card beside it, with its "sha256", as "model",'
    found = from_file(path, card, model if card is None else None, option)
    about: dict[str, Any] = {
        "path": path, "weights": path, "model": found.name, "content": found.content, "known": found.known,
    }  # fmt: skip
    if card is None:
        return Run(**about, normalisation=normalisation)
    about |= {"which": card.get("which") or "last", "epochs": epochs_of(card)}
    if card.get("run"):
        with suppress(UserError, KeyError, TypeError, AttributeError, ValueError):  # damaged: the card tells most
            record = RunRecord(str(card["run"])).load()
            # another run may stand there now, or this one with more epochs
            if (record.get("status"), record.get("results")) == ("finished", card.get("results")) and record["plan"]:
                return Run(**about, **_recorded(record, RunRecord(str(card["run"])).read()))
    return Run(
        **about,
        dataset=card.get("dataset"),
        **_before(card),
        data=card.get("data") or {},
        image_size=found.image_size() if card.get("dataset") in (None, "folder") else None,
        normalisation=_normalisation(card.get("dataset"), (card.get("quirks") or {}).get("normalisation")),
        views=card.get("views") or "usual",
        loss=" + ".join(map(str, card.get("loss") or ())) or None,
        recipe=card.get("recipe"),
        seed=card.get("seed"),
        precision=card.get("precision"),
        device=card.get("device"),
        taught_by=card.get("teacher"),
        seconds=None if card.get("minutes") is None else 60 * float(card["minutes"]),
        status=card.get("status"),
        planned=card.get("epochs"),
        results=card.get("results") or {},
    )


def _recorded(record: dict[str, Any], lines: list[dict[str, Any]]) -> dict[str, Any]:
    """What `run.json` and `metrics.jsonl` say."""
    plan = record["plan"]
    terms = [term for term in plan.get("terms") or () if term["factor"]]
    return {
        "dataset": plan["dataset"],
        **_before(record),
        "data": dict(record.get("data") or {}),
        "data_dir": plan.get("data_dir"),
        "image_size": plan.get("image_size") or (32 if plan["dataset"] == "folder" else None),
        "normalisation": _normalisation(plan["dataset"], plan["recipe"].get("normalisation")),
        "views": plan["recipe"].get("views", "usual"),
        "loss": " + ".join(f"{term['factor']:g} {term['method']}" for term in terms),
        "recipe": plan["recipe"].get("name"),
        "seed": plan.get("seed"),
        "precision": plan.get("precision"),
        "device": record.get("device") if isinstance(record.get("device"), str) else None,
        "taught_by": plan.get("teacher"),
        "teacher": plan.get("teacher_path"),
        "teacher_sha256": (record.get("identity") or {}).get("teacher_sha256"),
        "status": record.get("status"),
        "planned": plan.get("max_epochs"),
        "seconds": float(record["seconds"]) if "seconds" in record else None,
        "results": dict((record.get("results") if record.get("status") == "finished" else None) or _so_far(lines)),
        "lines": lines,
    }


def _before(told: dict[str, Any]) -> dict[str, Any]:
    """What a card or a record tells of the weights that a training started from."""
    card = (told.get("started_from") or {}).get("card")
    return {"data_before": seen_by(told)[1:], "epochs_before": spent_on(card)[0] if card else 0}


def _so_far(lines: list[dict[str, Any]]) -> dict[str, Any]:
    """The results of a run that has not come to its end."""
    found: dict[str, Any] = {}
    for part in ("validation", "test"):
        told = [line[f"{part}/accuracy"] for line in lines if line.get(f"{part}/accuracy") is not None]
        if told:
            found[part] = {"last": told[-1]} | ({"best": max(told)} if part == "validation" else {})
    return found


def _normalisation(dataset: str | None, word: str | None) -> str:
    return "dataset" if dataset == "folder" else word or "dataset"  # a folder has but one
