"""Which cells of an image show the object and which its ground, by the rules of each data set."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from ignite_kd.concepts.grid import cell_means
from ignite_kd.data.folder import cut_to_evaluate
from ignite_kd.errors import UserError, unknown

__all__ = ["RULES", "central_box", "mask_files", "masks_on_grid", "read_segmentation"]

RULES = ("any", "half", "interior", "top-left")
_PAD = {"cub": 1.0, "voc": 1.2}


def masks_on_grid(masks: Tensor, grid: int, rule: str = "half", expanded: int | None = None) -> tuple[Tensor, Tensor]:
    """(foreground, background), N × S × S each, of N × H × W masks at full resolution, true or above 0 on the object.

    The ratio of concepts depends on the rule: energy lies on the borders of objects. Show two.

    Args:
        rule: `any` or `half` of a cell's pixels on the object; `interior`, all of them, where cells that are neither
            all object nor all ground count for neither; `top-left`, the one pixel that the released code reads, which
            shifts every mask by half a cell.
        expanded: with `top-left`, read a grid of so many cells and keep its middle (18 for 16: the object enlarged by
            an eighth), the `fore_expand` of the released code.
    """
    if rule not in RULES:
        raise unknown("rule of masks", rule, RULES)
    if rule == "top-left":
        foreground = _top_left(masks > 0, grid, expanded or grid)
        return foreground, ~foreground
    if expanded is not None:
        raise UserError(f"masks are expanded with rule top-left, not with {rule}; leave one of them out.")
    covered = cell_means((masks > 0).double(), grid)
    if rule == "interior":
        return covered == 1, covered == 0
    foreground = covered > 0 if rule == "any" else covered >= 0.5
    return foreground, ~foreground


def central_box(count: int, grid: int) -> tuple[Tensor, Tensor]:
    """(foreground, background) of images without masks: rows and columns floor(S/6) … floor(5S/6) are foreground.

    As in the released code for ILSVRC, whose photographs were cut to about 1.5 times the object's box.
    """
    line = torch.zeros(grid, dtype=torch.bool)
    line[grid // 6 : 5 * grid // 6 + 1] = True
    foreground = (line[:, None] & line).expand(count, grid, grid).clone()
    return foreground, ~foreground


def read_segmentation(path: str | Path, side: int, data_set: str = "cub", views: str = "squash") -> Tensor:
    """The mask in an image file, side × side, above 0 on the object, for `masks_on_grid`.

    In grey, cut to the side of the network's image as the photograph is (`views`), bilinearly; `voc`: first extended by
    zeros to 1.2 times its height and width, because there a photograph is 1.2 times its object's box and a mask just
    that box. As in the released code, every grey above 0 is object, interpolated borders and void contours too.
    """
    from PIL import Image

    if data_set not in _PAD:
        raise unknown("kind of segmentation", data_set, _PAD)
    try:
        with Image.open(path) as file:
            grey = file.convert("L")
    except (OSError, SyntaxError):
        raise UserError(f"{path} is missing or no image; restore it, or choose images that have masks.") from None
    width, height = (round(_PAD[data_set] * size) for size in grey.size)
    whole = Image.new("L", (width, height))
    whole.paste(grey, ((width - grey.width) // 2, (height - grey.height) // 2))
    small = cut_to_evaluate(side, views)(whole)
    return torch.frombuffer(bytearray(small.tobytes()), dtype=torch.uint8).view(side, side)


def mask_files(folder: str | Path, names: Sequence[str]) -> list[Path]:
    """The mask of each photograph `CLASS/NAME.jpg` in a folder of masks `CLASS/NAME.png`; all, or an error."""
    found = [_mask_file(Path(folder), name) for name in names]
    missing = [name for name, path in zip(names, found, strict=True) if path is None]
    if missing:
        raise UserError(
            f"{folder} has no masks for {len(missing)} of {len(names)} images ({missing[0]}, say); give the folder of "
            "segmentations, or do without masks."
        )
    return [path for path in found if path is not None]


def _mask_file(folder: Path, name: str) -> Path | None:
    beside = (folder / name).with_suffix("")
    return next((p for end in (".png", ".PNG", ".bmp", ".jpg") if (p := Path(f"{beside}{end}")).is_file()), None)


def _top_left(masks: Tensor, grid: int, read: int) -> Tensor:
    edge, odd = divmod(read - grid, 2)
    if odd or edge < 0:
        raise UserError(f"a grid of {grid} is the middle of one of {grid + 2}, {grid + 4}, …, not of {read}.")
    rows, columns = (torch.arange(edge, edge + grid) * side // read for side in masks.shape[-2:])
    return masks[..., rows[:, None], columns]
