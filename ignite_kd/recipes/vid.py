"""Variational information distillation: as the paper has it, and as the released code does it."""

from __future__ import annotations

import dataclasses

from ignite_kd.recipes.base import QUIRKS, Recipe

__all__ = ["VID", "VID_RELEASED_CODE"]

VID = Recipe(
    name="vid",
    source="Ahn et al., CVPR 2019, arXiv:1904.05835, on the schedule of Zagoruyko and Komodakis, arXiv:1605.07146: "
    "SGD, batch 128, 200 epochs, 0.1 × 0.2 after 60, 120 and 160; size of the split as in the released code",
)

VID_RELEASED_CODE = dataclasses.replace(
    VID,
    name="vid-released-code",
    source="the code released with the paper (amzn/xfer, folder var_info_distil), to the last digit",
    **{field: quirk.released for field, quirk in QUIRKS.items() if quirk.code == "vid"},
)
