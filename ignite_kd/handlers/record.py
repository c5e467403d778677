"""What a run leaves to read: `run.json`, and `metrics.jsonl` with a line for each epoch."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import json
import math
import platform
import time
from pathlib import Path
from typing import Any

import ignite.distributed as idist
from ignite.engine import Events
from ignite.engine.events import RemovableEventHandle

from ignite_kd.engines import StudentEngine
from ignite_kd.errors import UserError
from ignite_kd.files import write_while_training

__all__ = ["RunRecord", "versions"]


class RunRecord:
    """The record in `folder`. Both files are replaced as a whole, so that they are never found half written."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self._since = time.monotonic()

    def attach(self, student: StudentEngine) -> list[RemovableEventHandle]:
        """Attach after what fills `state.metrics`."""
        return [
            student.add_event_handler(Events.EPOCH_STARTED, self._begin),
            student.add_event_handler(Events.EPOCH_COMPLETED, self._add),
        ]

    def update(self, **entries: Any) -> None:
        """Set entries of `run.json`; the others stay."""
        _write(self.folder / "run.json", json.dumps(self.load() | entries, indent=2) + "\n")

    def load(self) -> dict[str, Any]:
        """The entries of `run.json`; none where there is no such file yet."""
        path = self.folder / "run.json"
        try:
            return dict(json.loads(path.read_text())) if path.exists() else {}
        except (OSError, ValueError, TypeError, RecursionError):
            raise UserError(f"{path} is damaged; restore it, or name another folder.") from None

    def read(self) -> list[dict[str, Any]]:
        """The epochs so far, one dictionary a line of `metrics.jsonl`."""
        path = self.folder / "metrics.jsonl"
        try:
            return [dict(json.loads(line)) for line in path.read_text().splitlines()] if path.exists() else []
        except (OSError, ValueError, TypeError, RecursionError):
            raise UserError(f"{path} is damaged; restore it, or take it away to go on without its epochs.") from None

    def truncate(self, epoch: int) -> None:
        """Forget the epochs after `epoch`: a resumed run does them again."""
        lines = self.read()
        if any(line["epoch"] > epoch for line in lines):
            self._write_lines([line for line in lines if line["epoch"] <= epoch])

    def _begin(self) -> None:
        self._since = time.monotonic()

    def _add(self, student: StudentEngine) -> None:
        state = student.state
        self.truncate(state.epoch - 1)
        line = {
            "epoch": state.epoch,
            "iteration": state.iteration,
            "learning_rate": student.optimizer.param_groups[0]["lr"],
            "seconds": round(time.monotonic() - self._since, 3),
        }
        self._write_lines([*self.read(), line | {name: as_number(value) for name, value in state.metrics.items()}])

    def _write_lines(self, lines: list[dict[str, Any]]) -> None:
        _write(self.folder / "metrics.jsonl", "".join(json.dumps(line) + "\n" for line in lines))


def versions(*more: str) -> dict[str, str]:
    """What this ran with, and which version of `more` packages is here."""
    packages = ("ignite-kd", "torch", "torchvision", "pytorch-ignite", "numpy", *more)
    found = {"python": platform.python_version(), "machine": f"{platform.system()} {platform.machine()}"}
    found["ignite-kd source"] = _digest_of_sources()  # two states of a clone have one version
    for package in packages:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:  # e.g. run from a clone that was not installed
            continue
    return found


@functools.cache
def _digest_of_sources() -> str:
    """Of the package that runs, in whichever folder it lies."""
    package = Path(__file__).parents[1]
    digest = hashlib.sha256()
    for path in sorted(path for suffix in ("py", "cpp") for path in package.rglob(f"*.{suffix}")):
        digest.update(f"{path.relative_to(package).as_posix()}\n".encode() + path.read_bytes())
    return digest.hexdigest()[:12]


def as_number(value: Any) -> float | None:
    """None for what JSON cannot hold: a validation loss that is no number, a table that a user attached."""
    try:
        number = float(value)
    except (TypeError, ValueError, RuntimeError):
        return None
    return number if math.isfinite(number) else None


def _write(path: Path, text: str) -> None:
    if idist.get_rank() > 0:  # all processes come to know the same
        return
    write_while_training(path, text, "what was there before is kept")
