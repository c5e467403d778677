"""A trained network as it lies on a disk: in a file of weights, with or without a card, or in the folder of a run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from ignite_kd import models
from ignite_kd.cards import card_of_run
from ignite_kd.errors import UserError
from ignite_kd.handlers import RunRecord
from ignite_kd.handlers.checkpoint import newest
from ignite_kd.layouts import Content, read, rename
from ignite_kd.recognise import Known, name_of, options_of, recognise
from ignite_kd.weights import Loaded, put

__all__ = ["Trained", "from_file", "from_run", "last_weights"]


@dataclass(frozen=True)
class Trained:
    """Weights, and all that tells which network they are of."""

    path: str
    content: Content
    card: dict[str, Any] | None
    known: Known | None  # what their names and shapes say
    name: str
    named_by: str

    def build(self, num_classes: int, image_size: int) -> tuple[nn.Module, Loaded]:
        """The network with these weights in it, and what the file was."""
        network = self.untrained(num_classes, image_size)
        return network, put(network, self.content, self.path)

    def untrained(self, num_classes: int, image_size: int) -> nn.Module:
        """The network alone."""
        return models.build(self.name, num_classes=num_classes, **options_of(self.name, self.known, image_size))

    def num_classes(self) -> int | None:
        """The number of logits, by the weights or else by the card; None where neither tells."""
        return self.known.num_classes if self.known else (self.card or {}).get("num_classes")

    def image_size(self) -> int | None:
        """The images' edge, by the weights or else by the card; None where neither tells."""
        known = self.known.options.get("image_size") if self.known else None
        return known or (self.card or {}).get("image_size")


def from_file(path: str, card: dict[str, Any] | None, model: str | None = None, option: str = "--model") -> Trained:
    """The weights in `path`, of this package or of another code; `model` is the network where that is known, `option`
    what a user can say it with."""
    content = read(path)
    known = recognise(content.state) or recognise(rename(content).state)
    name, named_by = (model, "--model") if model else name_of(path, card, known, option)
    return Trained(path, content, card, known, name, named_by)


def from_run(folder: str | Path, which: str = "last") -> Trained:
    """The weights of the `last` or the `best` epoch of the run in `folder`, with the card that its record makes."""
    folder = Path(folder)
    record = RunRecord(folder).load()
    if not record:
        raise UserError(f"{folder} holds no run (there is no run.json); name a run's folder, or a file of weights.")
    try:
        card = card_of_run(record, folder)
        results = card["results"] if record["status"] == "finished" else {}  # else those of fewer epochs, if any
    except (KeyError, TypeError, AttributeError, ValueError):
        raise UserError(f"{folder / 'run.json'} is no run's record; name another folder, or a file.") from None
    if which == "best":
        path, epoch = folder / "checkpoints" / "best.th", results.get("best_epoch") or _best_epoch(folder)
        if not path.exists():
            raise UserError(f"{folder} has no best epoch: none was validated yet; take --which last.")
        content = read(path)
    else:
        last = last_weights(folder, _refuse)
        if last is None:
            if record["status"] == "finished":
                kept = record["plan"].get("state_dict_path") or "the file that they were written to"
                raise UserError(f"the checkpoints of {folder} are gone; export {kept} instead.")
            raise UserError(f"{folder} holds no weights yet: its first epoch was not finished.")
        path, content, epoch = last
    card |= {"which": which, "epoch": epoch, "results": results, "status": record["status"]}
    return Trained(str(path), content, card, recognise(content.state), card["model"], "its run")


def _best_epoch(folder: Path) -> int | None:
    """Of a run that has not come to its end: the epoch, the earliest of equals, that was best on validation."""
    told = [line for line in RunRecord(folder).read() if line.get("validation/accuracy") is not None]
    return max(told, key=lambda line: line["validation/accuracy"])["epoch"] if told else None


def last_weights(folder: Path, torn: Callable[[Path], None]) -> tuple[Path, Content, int] | None:
    """The newest sound checkpoint of the run in `folder`, its weights and how many epochs it had finished; `torn` is
    told of each damaged one on the way."""
    found = newest(folder / "checkpoints", torn)
    if found is None:
        return None
    path, state = found
    student = state["student"]
    return path, Content(dict(state["model"]), {}, ["checkpoint"]), student["iteration"] // student["epoch_length"]


def _refuse(torn: Path) -> None:
    """The one before it is of another epoch than the one that was asked for."""
    raise UserError(f"{torn} is damaged; go on with the run (--resume auto), which replaces it.")
