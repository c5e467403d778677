"""What trainings learned: the maps of all of them on one set of images, computed once and kept, and their numbers."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor, nn

from ignite_kd.comparison.held_out import refuse_other_data
from ignite_kd.comparison.runs import short_names
from ignite_kd.concepts.candidates import Candidates, candidates_of
from ignite_kd.concepts.conclusion import Masks, conclude, noise_stability
from ignite_kd.concepts.constants import Constants
from ignite_kd.concepts.desk import BLOCK, BUSY, Asked, Desk
from ignite_kd.concepts.entropy import ENGINES
from ignite_kd.concepts.explanation import Explanation
from ignite_kd.concepts.seeds import by_seed
from ignite_kd.concepts.selection import FEWEST_CELLS, FROM_EPOCH, reasons
from ignite_kd.concepts.subject import Subject
from ignite_kd.concepts.survey import survey_together
from ignite_kd.concepts.taps import layers
from ignite_kd.concepts.threshold import choose_margin, noise_floor
from ignite_kd.devices import pick_device
from ignite_kd.errors import UserError, unknown
from ignite_kd.handlers import versions
from ignite_kd.handlers.keep_epochs import PATH_FILE
from ignite_kd.handlers.stopping import Stopping
from ignite_kd.run_folder import lock

__all__ = ["explain", "refuse_a_layer_that_some_lack"]

Say = Callable[[str], None]


def explain(
    paths: Sequence[str],
    asked: Asked,
    *,
    stopping: Stopping | None = None,
    say: Say = lambda line: None,
    command: str = "",
    resamples: int = 1000,
) -> Explanation:
    """Compute what is not known yet, and conclude. Stopped at any time, the same call goes on.

    Args:
        paths: folders of runs, or files of weights; differences are counted from the first one.
        stopping: whose signals and time limit end it, with `StoppedError`.
    """
    if asked.engine not in ENGINES:
        raise unknown("engine", asked.engine, ENGINES)
    subjects = _subjects(paths, asked.epochs)
    refuse_other_data([subject.run for subject in subjects.values()], [])
    told = next((s.run for s in subjects.values() if s.run.dataset), next(iter(subjects.values())).run)
    candidates = candidates_of(
        told, asked.part, asked.candidates, asked.seed, asked.data_dir, asked.mask_dir, asked.mask_kind
    )
    on_grid, mask_words = candidates.on_grid(asked.masks, asked.grid)
    if on_grid is None and asked.margin == "null-quantile":
        raise UserError("--margin null looks at the ground, which needs masks; take otsu, physical or a number.")
    device = pick_device(asked.device)
    desks = _desks(subjects, candidates, asked, device, stopping)
    notes = [
        f"{name}: no history, so its last weights alone are looked at (train with --keep-epochs for more)"
        for name, subject in subjects.items()
        if subject.history is None
    ]
    notes += [
        f"{name}: history/{PATH_FILE} is missing or damaged, so D is not known"
        for name, subject in subjects.items()
        if subject.history is not None and not subject.weights
    ]
    with contextlib.ExitStack() as locks:
        for subject in subjects.values():
            subject.cache.mkdir(parents=True, exist_ok=True)
            locks.enter_context(lock(subject.cache, BUSY))
        stores = {name: desk.store() for name, desk in desks.items()}
        kept, fates = survey_together(
            [desk.surveyed(stores[name]) for name, desk in desks.items()],
            candidates.names,
            on_grid,
            asked.images,
            BLOCK if asked.engine == "sampled" else max(BLOCK, min(50, asked.images)),
            fewest_cells=FEWEST_CELLS,
            say=say,
        )
        counted = _told_apart(fates)
        if not kept:
            raise UserError(
                f"none of {len(candidates.names)} images was kept by all networks ({_words(counted)}); ask for more "
                "--candidates, for other --masks, or look at a network that was trained."
            )
        if len(kept) < asked.images:
            notes.append(
                f"{len(kept)} images instead of {asked.images}: of {len(candidates.names)} candidates no more were "
                "kept by all networks"
            )
        rows = [candidates.names.index(name) for name in kept]
        masks = (on_grid[0][rows], on_grid[1][rows]) if on_grid else None
        first = next(iter(desks.values()))
        say(f"{first.name}, the last checkpoint under other noise")
        noisy = first.noisy(kept)
        margin, rule = _margin(asked, first, noisy, masks)
        apart = first.deviation(kept, masks[1] if masks else None, margin, lambda line: say(f"{first.name}, {line}"))
    measured = [desk.measured(stores[name], kept, counted[name]) for name, desk in desks.items()]
    return conclude(
        measured,
        masks,
        margin,
        pictures=candidates.pictures(kept),
        names=kept,
        margin_rule=rule,
        engine=asked.engine,
        deviation=apart,
        noise=noise_stability(noisy, masks, margin),
        noises=noisy.shape[1],
        groups=by_seed(list(subjects), [subject.identity for subject in subjects.values()]),
        settings=_settings(asked, desks, candidates, mask_words, device, command),
        notes=notes,
        resamples=resamples,
    )


def _subjects(paths: Sequence[str], epochs: Sequence[int] | None) -> dict[str, Subject]:
    """By short names."""
    subjects: list[Subject] = []
    for path in paths:
        subject = Subject(path)
        if any(subject.path.resolve() == other.path.resolve() for other in subjects):
            raise UserError(f"{path} was named twice; name each run once.")
        subjects.append(subject if not epochs else subject.at(epochs))
    return dict(zip(short_names(list(paths)), subjects, strict=True))


def _desks(
    subjects: dict[str, Subject], candidates: Candidates, asked: Asked, device: torch.device, stopping: Stopping | None
) -> dict[str, Desk]:
    """Networks of one name are one network, whose weights are put in as they are needed."""
    networks: dict[str, nn.Module] = {}
    for subject in subjects.values():
        if subject.run.model not in networks:
            networks[subject.run.model] = subject.network(candidates.classes, candidates.image_size).to(device)
    refuse_a_layer_that_some_lack(networks, asked.layer)

    def constants(subject: Subject) -> Constants:
        return Constants.of(subject.run.model, asked.entropy_weight, grid=asked.grid)

    return {
        name: Desk(name, subject, networks[subject.run.model], candidates, asked, constants(subject), stopping)
        for name, subject in subjects.items()
    }


def refuse_a_layer_that_some_lack(networks: dict[str, nn.Module], layer: str) -> None:
    """The error names those that all have."""
    known = {name: layers(network) for name, network in networks.items()}
    for name, found in known.items():
        if layer not in found:
            common = [each for each in found if all(each in others for others in known.values())]
            raise unknown(f"layer of {name}" + (" and the others" if len(known) > 1 else ""), layer, common)


def _told_apart(fates: dict[str, dict[str, str]]) -> dict[str, dict[str, int]]:
    """Reasons and numbers by network, and how many a network was not asked for."""
    everyone = next(iter(fates.values()))
    counted = {}
    for name, found in fates.items():
        counted[name] = reasons(found)
        if len(found) < len(everyone):
            counted[name]["not asked, an earlier network had dropped it"] = len(everyone) - len(found)
    return counted


def _words(counted: dict[str, dict[str, int]]) -> str:
    parts = []
    for name, found in counted.items():
        parts.append(f"{name}: " + ", ".join(f"{number} {reason}" for reason, number in found.items()))
    return "; ".join(parts)


def _margin(asked: Asked, first: Desk, noisy: Tensor, masks: Masks) -> tuple[float, str]:
    """Chosen once, on the first network's last checkpoint; a rule's never within what noise does."""
    if not isinstance(asked.margin, str):
        return asked.margin, "published" if asked.margin == 0.2 else "given"
    usual = noisy[:, -1]
    background = masks[1] if masks else torch.ones_like(usual, dtype=torch.bool)
    floor = noise_floor(usual, noisy[:, 0])
    margin = choose_margin(asked.margin, usual, background, first.constants, floor=floor)
    return margin, asked.margin + (", raised to three deviations of the noise" if margin == floor else "")


def _settings(
    asked: Asked, desks: dict[str, Desk], candidates: Candidates, masks: str, device: torch.device, command: str
) -> dict[str, Any]:
    return {
        "asked": asdict(asked),
        "constants": {name: asdict(desk.constants) for name, desk in desks.items()},
        "data": {"dataset": candidates.dataset, "digest": candidates.digest, "part": asked.part},
        "candidates": len(candidates.names),
        "masks": masks,
        "kept from epoch": FROM_EPOCH,
        "device": device.type,
        "versions": versions(),
        "command": command,
    }
