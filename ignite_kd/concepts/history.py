"""The history of a training, as `--keep-epochs` leaves it: weights by epoch, and the way they took."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ignite_kd import models
from ignite_kd.errors import UserError, unknown
from ignite_kd.files import digest_of
from ignite_kd.handlers import RunRecord
from ignite_kd.handlers.keep_epochs import PATH_FILE, weights_file
from ignite_kd.layouts import opened
from ignite_kd.weights import load_weights

__all__ = ["History"]

_KINDS = ("steps", "epochs")


class History:
    """What is left of a run in `folder`.

    Attributes:
        record: the run's `run.json`.
        epochs: whose weights are there, ascending.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.record = _record(self.folder)
        files = (self.folder / "history").glob("epoch-*.th")
        matches = [re.fullmatch(r"epoch-(\d{4,})\.th", path.name) for path in files]
        self.epochs = sorted(int(match[1]) for match in matches if match)
        if not self.epochs:
            raise UserError(
                f"{self.folder} kept no epochs; train it again with --keep-epochs published (or 0,2,5,…, or recipe "
                "concepts)."
            )

    @property
    def plan(self) -> dict[str, Any]:
        """What was asked for: `student`, `dataset`, `seed`, `recipe` and so on."""
        return dict(self.record["plan"])

    def network(self, image_size: int | None = None) -> nn.Module:
        """The network that was trained, untrained; channels last, a third faster on a CPU."""
        name, size = str(self.plan["student"]), image_size or self.plan.get("image_size") or 32
        classes = int(self.record["data"]["classes"])
        network = models.build(name, num_classes=classes, **models.size_options(name, size))
        return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]

    def file(self, epoch: int) -> Path:
        """Where the weights after this epoch are."""
        if epoch not in self.epochs:
            raise UserError(f"{self.folder} did not keep epoch {epoch}; it kept {', '.join(map(str, self.epochs))}.")
        return self.folder / "history" / weights_file(epoch)

    def load(self, network: nn.Module, epoch: int) -> None:
        """Put the weights after this epoch into the network; those of another network are refused."""
        load_weights(network, self.file(epoch))

    def digest(self, epoch: int) -> str:
        """Tells these weights from any others."""
        return digest_of(self.file(epoch))[:16]

    def layers(self) -> list[str]:
        """The weights whose way is known."""
        return list(self._path()["layers"])

    def path(self, weight: str, over: str = "steps", up_to: bool = False) -> Tensor:
        """How far a weight moved in each epoch 1, 2, …, as multiples of its norm at the beginning.

        Args:
            weight: its name in the network, `layer2.0.conv1.weight`; `.weight` may be left out.
            over: `steps`, the sum over the steps of an epoch, as the released code counts; `epochs`, from its
                beginning to its end, as the paper writes.
            up_to: not this weight alone but all of the network until it, as one vector.
        """
        found = self._path()
        names = found["layers"]
        name = weight if weight in names else f"{weight}.weight"
        if name not in names:
            raise unknown("weight", weight, names)
        if over not in _KINDS:
            raise unknown("way to count", over, _KINDS)
        place, kind, reach = names.index(name), _KINDS.index(over), int(up_to)
        initial = found["initial"][reach, place]
        if initial == 0:
            raise UserError(f"{name} began as zeros, so its way has no measure; take another weight.")
        return found["path"][:, kind, reach, place] / initial

    def _path(self) -> dict[str, Any]:
        path = self.folder / "history" / PATH_FILE
        try:
            return dict(opened(path))
        except (UserError, TypeError, ValueError):
            raise UserError(
                f"{path} is missing or damaged; restore it, or do without the distance of the weights."
            ) from None


def _record(folder: Path) -> dict[str, Any]:
    record = RunRecord(folder).load()
    if not all(isinstance(record.get(part), dict) for part in ("plan", "data")):
        raise UserError(f"{folder} is no run's folder (no plan in run.json); name the folder of a training.")
    return record
