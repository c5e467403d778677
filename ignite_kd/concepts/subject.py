"""A training that is to be explained: all that it kept of its history, or its last weights alone."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ignite_kd import models
from ignite_kd.cards import accuracy_in
from ignite_kd.comparison.runs import load_run
from ignite_kd.concepts.history import History
from ignite_kd.concepts.metrics import distances_at
from ignite_kd.errors import UserError
from ignite_kd.files import digest_of
from ignite_kd.handlers import RunRecord
from ignite_kd.recognise import options_of
from ignite_kd.weights import put

__all__ = ["Subject"]


class Subject:
    """The run in a folder, or a file of weights.

    Attributes:
        run: what is known of it, with its last weights.
        history: None where no epochs were kept.
        epochs: of the checkpoints, ascending; of weights alone the number of epochs they took, 0 where nobody says it.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        kept = any(self.path.glob("history/epoch-*.th"))  # its files are read one by one
        self.run = load_run(str(path), weights=not kept)
        self.history = History(path) if kept else None
        self.epochs = self.history.epochs if self.history else [self.run.epochs or 0]

    def at(self, epochs: Sequence[int]) -> Subject:
        """The same with fewer checkpoints; weights alone stay what they are."""
        if self.history is None:
            return self
        for epoch in epochs:
            self.history.file(epoch)  # which says what there is
        fewer = copy.copy(self)
        fewer.epochs = sorted(epochs)
        return fewer

    @property
    def identity(self) -> dict[str, Any] | None:
        """What decided the result of its training; None where there is no record."""
        return RunRecord(self.path).load().get("identity") if self.path.is_dir() else None

    @property
    def cache(self) -> Path:
        """The folder for what is computed about it."""
        return self.path / "concepts" if self.path.is_dir() else Path(f"{self.path}.concepts")

    def network(self, classes: int, image_size: int) -> nn.Module:
        """A network for its weights; channels last, a third faster on a CPU."""
        network = models.build(self.run.model, classes, **options_of(self.run.model, self.run.known, image_size))
        return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]

    def load(self, network: nn.Module, epoch: int) -> None:
        """Put the weights after this epoch into the network."""
        if self.history is not None:
            self.history.load(network, epoch)
        else:
            put(network, self.run.content, self.run.weights)

    def digest(self, epoch: int) -> str:
        """Tells these weights from any others."""
        return self.history.digest(epoch) if self.history else digest_of(self.run.weights)[:16]

    @property
    def weights(self) -> list[str]:
        """Those whose way is known."""
        try:
            return self.history.layers() if self.history else []
        except UserError:
            return []

    def distances(self, weight: str, up_to: bool, over: str = "steps") -> Tensor:
        """How far it had moved at each checkpoint, see `History.path`."""
        assert self.history is not None
        return distances_at(self.history.path(weight, over, up_to), self.epochs)

    def moved(self, weight: str, up_to: bool) -> dict[str, Tensor]:
        """The distances of `conclusion.Measured`."""
        found = {"distances": self.distances(weight, up_to), "epoch_distances": self.distances(weight, up_to, "epochs")}
        return found if up_to else found | {"whole_distances": self.distances(weight, True)}

    def about(self) -> dict[str, Any]:
        """What a reader wants to know of it."""
        run = self.run
        of_these = self.history is None or self.epochs[-1] == run.epochs  # the weights that are looked at last
        return {
            "network": run.model,
            "loss": run.loss,
            "recipe": run.recipe,
            "seed": run.seed,
            "test accuracy": accuracy_in(run.results, "test", run.which) if of_these else None,
            "epochs": run.epochs,
            "folder" if self.path.is_dir() else "file": str(self.path),
        }
