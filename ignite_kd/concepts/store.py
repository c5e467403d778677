"""Entropy maps in one file that grows as they are computed, so that nothing is computed twice."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ignite_kd.concepts.trajectory import EntropyMaps, Status
from ignite_kd.errors import UserError
from ignite_kd.files import atomic_write, check_writable
from ignite_kd.layouts import opened
from ignite_kd.run_folder import differences

__all__ = ["Store"]

_FORMAT = 1
_MISSING = -1
_PARTS = ("entropies", "steps", "traces", "losses", "status")


class Store:
    """Maps of one layer of one training: images × checkpoints × S × S, with steps, traces and status.

    Opening a file that is there goes on with it: images and checkpoints that it lacks are added, those that it has
    stay. It is refused where it was made otherwise, because its maps would be others.

    Args:
        path: the file; read with weights_only, so nothing in it is ever run.
        made: plain values that decide every map: network, layer, constants, engine, seed, data. They must be equal.
        weights: epoch → digest of the weights that its maps are of.
        names: images by names that stay the same.
        grid: cells along a side.
        steps: of a trace.
        notes: other plain values or tensors, e.g. masks, that are written along; the newest count.
    """

    def __init__(
        self,
        path: str | Path,
        made: Mapping[str, Any],
        weights: Mapping[int, str],
        names: Sequence[str],
        grid: int,
        steps: int,
        notes: Mapping[str, Any] | None = None,
    ) -> None:
        self.path = Path(path)
        if len(set(names)) < len(names):
            raise UserError("two images have one name; give each its own.")
        check_writable(self.path)
        before = _read(self.path) if self.path.exists() else None
        self.made, self.notes = dict(made), dict(notes or {})
        self.names, self.epochs, self.weights = list(names), sorted(weights), dict(weights)
        if before is not None:
            self._refuse_another(before)
            self.names = [*before["names"], *(name for name in names if name not in set(before["names"]))]
            self.weights = before["weights"] | self.weights
            self.epochs = sorted(self.weights)
            self.notes = before["notes"] | self.notes
        shapes = {"entropies": (grid, grid), "traces": (steps,), "losses": (steps,)}
        self._parts = {
            part: torch.full((len(self.names), len(self.epochs), *shapes.get(part, ())), torch.nan) for part in _PARTS
        }
        self._parts["status"] = torch.full(self._parts["steps"].shape, _MISSING, dtype=torch.int8)
        self._row = {name: i for i, name in enumerate(self.names)}
        self._column = {epoch: i for i, epoch in enumerate(self.epochs)}
        if before is not None:
            columns = torch.tensor([self._column[epoch] for epoch in before["epochs"]])
            try:
                for part, values in before["parts"].items():
                    self._parts[part][: len(before["names"])].index_copy_(1, columns, values)
            except (KeyError, TypeError, RuntimeError):
                raise _damaged(self.path) from None

    @classmethod
    def there(cls, path: str | Path) -> Store:
        """What a file holds, whoever made it."""
        before = _read(Path(path))
        grid, steps = before["parts"]["entropies"].shape[-1], before["parts"]["traces"].shape[-1]
        return cls(path, before["made"], before["weights"], before["names"], grid, steps)

    def missing(self, epoch: int, names: Sequence[str]) -> list[str]:
        """Those of these images whose map at this checkpoint is not there yet."""
        status = self._parts["status"][:, self._column[epoch]]
        return [name for name in names if status[self._row[name]] == _MISSING]

    def put(self, epoch: int, names: Sequence[str], maps: EntropyMaps) -> None:
        """Take in the maps of these images at this checkpoint, and write the file."""
        rows, column = self._rows(names), self._column[epoch]
        for part in _PARTS:
            values = getattr(maps, part).cpu()
            self._parts[part][rows, column] = values.to(self._parts[part].dtype)
        self.save()

    def get(self, epoch: int, names: Sequence[str]) -> EntropyMaps:
        """The maps of these images at this checkpoint; all must be there."""
        lacking = self.missing(epoch, names)
        if lacking:
            raise UserError(
                f"{self.path} has no map of {lacking[0]} at epoch {epoch} yet; let the run go on to its end."
            )
        rows = self._rows(names)
        return EntropyMaps(*(self._parts[part][rows, self._column[epoch]] for part in _PARTS))

    def entropies(self, names: Sequence[str], epochs: Sequence[int] | None = None) -> Tensor:
        """Images × checkpoints × S × S, for the metrics; all must be there."""
        wanted = self.epochs if epochs is None else list(epochs)
        return torch.stack([self.get(epoch, names).entropies for epoch in wanted], dim=1)

    def never(self, names: Sequence[str], epochs: Sequence[int] | None = None) -> int:
        """In how many of these maps sigma never reached the threshold; all must be there."""
        wanted = self.epochs if epochs is None else epochs
        return sum(int((self.get(epoch, names).status == Status.NEVER).sum()) for epoch in wanted)

    def save(self) -> None:
        """Write the file, whole or not at all."""
        content = io.BytesIO()
        told = {"made": self.made, "names": self.names, "epochs": self.epochs, "weights": self.weights}
        torch.save({"format": _FORMAT, **told, "notes": self.notes, "parts": self._parts}, content)
        atomic_write(self.path, content.getvalue())

    def _rows(self, names: Sequence[str]) -> Tensor:
        return torch.tensor([self._row[name] for name in names], dtype=torch.long)

    def _refuse_another(self, before: dict[str, Any]) -> None:
        changed = differences(before["made"], self.made)
        for epoch, digest in self.weights.items():
            if before["weights"].get(epoch, digest) != digest:
                changed.append(f"the weights of epoch {epoch} are others")
        if changed:
            raise UserError(
                f"{self.path} holds maps that were made otherwise: {'; '.join(changed)}. Name another file, take "
                "this one away, or ask for the same."
            )


def _read(path: Path) -> dict[str, Any]:
    try:
        found = opened(path)
        if found["format"] == _FORMAT:
            return dict(found)
    except (UserError, KeyError, TypeError):
        pass
    raise _damaged(path)


def _damaged(path: Path) -> UserError:
    return UserError(f"{path} is damaged, or no file of entropy maps; take it away, or name another file.")
