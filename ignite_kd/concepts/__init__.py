"""What a network learned: which pixels a layer discards, and from that how many concepts it holds."""

from __future__ import annotations

from ignite_kd.concepts.constants import Constants
from ignite_kd.concepts.entropy import ENGINES, deviation, entropy_maps
from ignite_kd.concepts.history import History
from ignite_kd.concepts.masks import central_box, masks_on_grid
from ignite_kd.concepts.store import Store
from ignite_kd.concepts.survey import survey
from ignite_kd.concepts.trajectory import EntropyMaps, Status

__all__ = [
    "ENGINES",
    "Constants",
    "EntropyMaps",
    "History",
    "Status",
    "Store",
    "central_box",
    "deviation",
    "entropy_maps",
    "masks_on_grid",
    "survey",
]
