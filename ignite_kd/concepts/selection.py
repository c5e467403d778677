"""Which images the metrics see: those on which the trained network discards the ground more than the object."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from ignite_kd.concepts.trajectory import EntropyMaps, Status

__all__ = ["FEWEST_CELLS", "FROM_EPOCH", "KEPT", "Verdict", "common", "gap", "judge", "reasons"]

FROM_EPOCH = 40  # checkpoints before it are not asked, in the released code
FEWEST_CELLS = 4  # of object and of ground, where it is not as published: means of fewer are chance

KEPT = "kept"
Verdict = str  # KEPT, or why not


def gap(maps: Tensor, foreground: Tensor, background: Tensor, lowest: float | None = None) -> Tensor:
    """Mean entropy of the background's cells less that of the foreground's, N; NaN where a side has no cells.

    Args:
        maps, foreground, background: N × S × S.
        lowest: of each side only this part of its cells, those of the lowest entropy (0.1 in the released "Top10").
    """
    return _mean(maps, background, lowest) - _mean(maps, foreground, lowest)


def judge(
    found: EntropyMaps,
    foreground: Tensor,
    background: Tensor,
    epoch: int,
    from_epoch: int = FROM_EPOCH,
    lowest: float | None = None,
    fewest_cells: int = 1,
) -> list[Verdict]:
    """What becomes of each image after this checkpoint: kept, or the reason why it is dropped.

    An image must move the feature and have cells of both kinds; from `from_epoch` on it must lose its background
    rather than its object. One that never reached the threshold is kept here, as in the released code; its status
    tells of it.
    """
    few = torch.minimum(foreground.sum((1, 2)), background.sum((1, 2))) < fewest_cells
    wrong = ~(gap(found.entropies.cpu(), foreground, background, lowest) >= 0)
    verdicts = []
    for i in range(len(found)):
        if found.status[i] == Status.SILENT:
            verdicts.append(str(Status.SILENT))
        elif few[i]:
            verdicts.append("object or ground without enough cells")
        elif wrong[i] and epoch >= from_epoch:
            verdicts.append("the object is discarded more than the ground")
        else:
            verdicts.append(KEPT)
    return verdicts


def reasons(verdicts: Mapping[str, Verdict]) -> dict[str, int]:
    """How many images had which fate."""
    return dict(Counter(verdicts.values()).most_common())


def common(*kept: Sequence[str]) -> list[str]:
    """The images that every network kept, in the order of the first."""
    return [name for name in kept[0] if all(name in other for other in kept[1:])]


def _mean(maps: Tensor, cells: Tensor, lowest: float | None) -> Tensor:
    if lowest is None:
        return (maps * cells).nan_to_num().sum((1, 2)) / cells.sum((1, 2))
    ordered = maps.masked_fill(~cells, torch.inf).flatten(1).sort(1).values
    number = cells.sum((1, 2))
    taken = (lowest * number).floor().clamp(min=1).masked_fill(number == 0, 0)
    among = torch.arange(ordered.shape[1]) < taken[:, None]
    return ordered.where(among, 0.0).sum(1) / taken
