"""The maps of one training in a folder of their own, called as the released code calls it, and back from there."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from ignite_kd.concepts.candidates import candidates_of
from ignite_kd.concepts.conclusion import Masks, Measured
from ignite_kd.concepts.constants import Constants
from ignite_kd.concepts.desk import BLOCK, BUSY, Asked, Desk
from ignite_kd.concepts.explain import refuse_a_layer_that_some_lack
from ignite_kd.concepts.selection import FROM_EPOCH, KEPT, reasons
from ignite_kd.concepts.store import Store
from ignite_kd.concepts.subject import Subject
from ignite_kd.concepts.survey import survey_together
from ignite_kd.devices import pick_device
from ignite_kd.errors import UserError
from ignite_kd.files import atomic_write
from ignite_kd.handlers.stopping import Stopping
from ignite_kd.run_folder import lock, make

__all__ = ["Sigma", "read_sigma", "train_sigma"]

_LISTS = {"full": "full_name_list.txt", "effect": "effect_name_list.txt", "dropped": "non_effect_name_list.txt"}


def train_sigma(
    root: str,
    folder: Path,
    asked: Asked,
    constants: Callable[[str], Constants],
    *,
    expanded: int | None = None,
    pick: bool = True,
    lowest: float | None = None,
    iterations: int = 1,
    expected: Mapping[str, Sequence[Any]] | None = None,
    stopping: Stopping | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> dict[str, int]:
    """Compute the maps of the run in `root`; returns what became of how many candidates.

    `folder` then holds `maps.pt` (of further iterations, with other noise, `maps-1.pt`, …) and the lists of names.

    Args:
        constants: of a network's name.
        expanded: see `masks.masks_on_grid`.
        pick: drop images on which the trained network discards the object more than the ground.
        lowest: see `selection.judge`.
        expected: what the run's `model`, `dataset` or `classes` may be; another one is refused.
    """
    subject = Subject(root)
    told = {"model": subject.run.model, "dataset": subject.run.dataset, "classes": subject.run.data.get("classes")}
    for what, possible in (expected or {}).items():
        if told[what] not in (None, *possible):
            raise UserError(
                f"--{what} {possible[0]} was given, but {root} has {told[what]}; name another --checkpoint-root."
            )
    candidates = candidates_of(
        subject.run, asked.part, asked.candidates, asked.seed, asked.data_dir, asked.mask_dir, asked.mask_kind
    )
    network = subject.network(candidates.classes, candidates.image_size).to(pick_device(asked.device))
    refuse_a_layer_that_some_lack({subject.run.model: network}, asked.layer)
    on_grid, words = candidates.on_grid(asked.masks, constants(subject.run.model).grid, expanded)
    desk = Desk(folder.name, subject, network, candidates, asked, constants(subject.run.model), stopping)
    make(folder)
    counted: dict[str, int] = {}
    subject.cache.mkdir(parents=True, exist_ok=True)
    with contextlib.closing(lock(folder, BUSY)), contextlib.closing(lock(subject.cache, BUSY)):
        for i in range(iterations):
            store = desk.store(seed=i, path=folder / (f"maps-{i}.pt" if i else "maps.pt"))
            if store.notes:  # of another choice, perhaps: until this one comes to its end there is none
                store.notes = {}
                store.save()
            kept, fates = survey_together(
                [desk.surveyed(store, seed=i)], candidates.names, on_grid, asked.images, BLOCK,
                FROM_EPOCH if pick else None, lowest, say,
            )  # fmt: skip
            if never := store.never(kept, subject.epochs):
                say(f"sigma never reached the threshold in {never} of {len(kept) * len(subject.epochs)} maps")
            if i:
                continue
            found = fates[folder.name]
            counted = reasons(found)
            rows = [candidates.names.index(name) for name in kept]
            moving = desk.moving()
            apart = desk.deviation(kept, on_grid[1][rows] if on_grid else None, say=say)
            if apart is not None:
                say(f"deviation of the {asked.engine} engine: {apart}")
            store.notes = {
                "kept": kept,
                "foreground": on_grid[0][rows] if on_grid else None,
                "background": on_grid[1][rows] if on_grid else None,
                "masks": words,
                "pictures": candidates.pictures(kept) if kept else None,
                "fates": counted,
                "deviation": apart,
                "root": str(Path(root).resolve()),
                "weight": moving[0] if moving else None,
                "up_to": bool(moving and moving[1]),
            }
            store.save()
            lists = {
                "full": candidates.names,
                "effect": kept,
                "dropped": [name for name, fate in found.items() if fate != KEPT],
            }
            for kind, names in lists.items():
                atomic_write(folder / _LISTS[kind], "".join(f"{name}\n" for name in names))
    return counted


@dataclass(frozen=True)
class Sigma:
    """What `train_sigma` left in a folder."""

    folder: Path
    store: Store

    @property
    def notes(self) -> dict[str, Any]:
        """What was written along with the maps."""
        return self.store.notes

    @property
    def kept(self) -> list[str]:
        return list(self.notes["kept"])

    @property
    def threshold(self) -> float:
        """The mean entropy at which its maps were taken."""
        return Constants(**{**self.store.made["constants"], "samples": 1}).theta

    def masks(self, names: Sequence[str]) -> Masks:
        """Of these images, in this order."""
        if self.notes["foreground"] is None:
            return None
        rows = [self.kept.index(name) for name in names]
        return self.notes["foreground"][rows], self.notes["background"][rows]

    def pictures(self, names: Sequence[str]) -> Tensor:
        """As people see them."""
        pictures: Tensor = self.notes["pictures"][[self.kept.index(name) for name in names]]
        return pictures

    def measured(self, name: str, names: Sequence[str], root: str | None = None) -> Measured:
        """For `conclude`; `root`: the run whose weights moved, where it is not where it was."""
        subject = Subject(root or self.notes["root"]).at(self.store.epochs)
        weight, up_to = self.notes["weight"], self.notes["up_to"]
        if weight is not None and any(subject.digest(e) != d for e, d in self.store.weights.items()):
            raise UserError(
                f"the weights in {subject.path} are not those of the maps in {self.folder}; name their run."
            )
        return Measured(
            name=name,
            about=subject.about(),
            layer=self.store.made["layer"],
            epochs=list(self.store.epochs),
            maps=self.store.entropies(names),
            fates=dict(self.notes["fates"]),
            never=self.store.never(names),
            **(subject.moved(weight, up_to) if weight in subject.weights else {}),
        )


def read_sigma(folder: str | Path, flag: str) -> Sigma:
    """The maps in a folder; `flag` names it in an error."""
    path = Path(folder) / "maps.pt"
    if not path.is_file():
        raise UserError(f"{flag} {folder} has no maps.pt; name a folder that train-sigma wrote.")
    store = Store.there(path)
    if "kept" not in store.notes:
        raise UserError(f"{path} is not complete; let train-sigma go on to its end.")
    return Sigma(Path(folder), store)
