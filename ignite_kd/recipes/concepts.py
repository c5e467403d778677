"""Training for 'Explaining Knowledge Distillation by Quantifying the Knowledge': teacher, baseline and student."""

from __future__ import annotations

import dataclasses

from ignite_kd.recipes.base import PUBLISHED_HISTORY, Recipe

__all__ = ["CONCEPTS", "DATASETS", "LAYERS", "MODELS", "classifier", "epochs_to_keep", "imitation", "suggested"]

CONCEPTS = Recipe(
    name="concepts",
    source="Cheng et al., CVPR 2020, arXiv:2003.03622, and its code: SGD, batch 64, 150 epochs, 1e-3 falling evenly in "
    "its logarithm to a tenth, momentum 0.9, weight decay 1e-4",
    epochs=150,
    batch_size=64,
    evaluation_batch_size=64,
    learning_rate=1e-3,
    weight_decay=1e-4,
    schedule="log-space",
    decades=1.0,
    keep_epochs=PUBLISHED_HISTORY,
)

MODELS = ("vgg16", "vgg11", "vgg19", "alexnet", "resnet18", "resnet50", "resnet101", "resnet152")
LAYERS = ("conv", "fc1", "fc2", "fc3")
DATASETS = {"CUB": "squash", "VOC": "squash-crop", "ILSVRC": "squash-crop"}  # → views: birds are not augmented

# (first learning rate, decades to fall) in the comments of the released scripts; none for conv
_IMITATION = {
    "vgg": {"fc1": (1e-4, 1.0), "fc2": (1e-3, 1.0), "fc3": (1e-3, 1.0)},
    "resnet": {"fc1": (10.0, 2.0), "fc2": (0.1, 1.0), "fc3": (0.1, 1.0)},
}
_LABELS = {"vgg": {"pretrain": 1e-3, "without_pretrain": 1e-2}, "resnet": {"pretrain": 1e-2, "without_pretrain": 1e-1}}


def epochs_to_keep(epochs: int) -> tuple[int, ...]:
    """The epochs whose weights the study looks at, 0 being the start; seven more of runs of 400 epochs."""
    longest = epochs if epochs >= 400 else min(epochs, 150)
    return tuple(epoch for epoch in PUBLISHED_HISTORY if epoch <= longest)


def suggested(model: str, what: str) -> tuple[float, float] | None:
    """(learning rate, decades) that the released scripts suggest for a layer's imitation, or for a start."""
    family = "vgg" if model.startswith("vgg") else "resnet" if model.startswith("resnet") else ""
    if what in LAYERS:
        return _IMITATION.get(family, {}).get(what)
    rate = _LABELS.get(family, {}).get(what)
    return None if rate is None else (rate, 1.0)


def imitation(recipe: Recipe, layer: str) -> Recipe:
    """Phase 1 of the distillation: no label; only with fc3 does the classifier learn, and is worth a look."""
    return recipe if layer == "fc3" else dataclasses.replace(recipe, validate_every=0, test_at_end=False)


def classifier(recipe: Recipe, model: str) -> Recipe:
    """Phase 2: what lies above the imitated layer learns from labels, more slowly where that has stopped helping."""
    rate = 1e-2 if model.startswith("resnet") else 1e-3
    return dataclasses.replace(
        recipe, epochs=100, learning_rate=rate, schedule="plateau", decay=0.3, patience=10, validate_every=1
    )
