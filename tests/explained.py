"""Explanations made by hand: the arrays of the worked example (images, checkpoints, 4 × 4 cells), and odd sizes."""

from dataclasses import replace

import torch
from worked_examples import worked_foreground, worked_maps

from ignite_kd.concepts import conclusion
from ignite_kd.concepts.conclusion import Measured
from ignite_kd.concepts.explanation import Explanation

EPOCHS = [0, 2, 5, 10]
DISTANCES = (0.0, 0.25, 0.478333, 0.792897)  # at those epochs


def explained(name="alone", maps=None, foreground=None, epochs=None, distances=DISTANCES, masks=True, **changes):
    """A network with these maps."""
    foreground = worked_foreground() if foreground is None else foreground
    one = Measured(
        name=name,
        about={"network": "wrn_10_1", "loss": "1 ce"},
        layer="pooled",
        epochs=EPOCHS if epochs is None else epochs,
        maps=worked_maps() if maps is None else maps,
        distances=None if distances is None else torch.tensor(distances, dtype=torch.float64),
        fates={"kept": len(foreground), "the object is discarded more than the ground": 2},
    )
    return replace(conclusion.explained(one, (foreground, ~foreground) if masks else None, 0.2), **changes)


def explanation(*networks, foreground=None, masks=True, **changes):
    networks = networks or (explained(),)
    cells = worked_foreground() if foreground is None else foreground
    count, grid = len(networks[0].maps), networks[0].maps.shape[-1]
    generator = torch.Generator().manual_seed(0)
    known = {
        "networks": list(networks),
        "images": torch.randint(0, 256, (count, 3, 2 * grid, 2 * grid), generator=generator, dtype=torch.uint8),
        "names": [f"test/{i}" for i in range(count)],
        "foreground": cells if masks else None, "background": ~cells if masks else None,
        "margin": 0.2, "margin_rule": "published", "engine": "sampled", "deviation": None, "noise": 0.9,
        "differences": {}, "settings": {"constants": {"grid": grid, "entropy_weight": 7.0}, "seed": 0},
    }  # fmt: skip
    return Explanation(**(known | changes))


def made_up(networks=1, images=1, checkpoints=1, grid=8, masks=True, distances=True, **changes):
    """Of any size: cells near an object come out of the ground as training goes on."""
    generator = torch.Generator().manual_seed(1)
    foreground = torch.zeros(images, grid, grid, dtype=torch.bool)
    foreground[:, grid // 4 : -grid // 4, grid // 4 : -grid // 4] = True
    epochs = [10 * t for t in range(checkpoints)]
    along = torch.arange(checkpoints, dtype=torch.float64)
    found = []
    for n in range(networks):
        noise = 0.15 * torch.randn(images, checkpoints, grid, grid, generator=generator, dtype=torch.float64)
        known = (1 - (-along / (2 + n)).exp()).view(-1, 1, 1) * foreground[:, None]
        name = f"network {n + 1}" if n else "alone"
        moved = tuple((along * (0.1 + 0.02 * n)).tolist()) if distances else None
        found.append(explained(name, -2.7 - 0.4 * known + noise, foreground, epochs, moved, masks))
    apart = {
        f"{one.name}: {number}": (0.1 * n, 0.1 * n - 0.25, 0.1 * n + 0.15)
        for n, one in enumerate(found[1:])
        for number in one.numbers
    }
    return explanation(*found, foreground=foreground, masks=masks, **({"differences": apart} | changes))
