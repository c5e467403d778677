"""Knowledge distillation as pytorch-ignite engines. Names are imported when first used, so that help stays fast."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ignite_kd import data, handlers, heads, models, recipes
    from ignite_kd.engines import EvaluationEngine, StudentEngine, TeacherEngine
    from ignite_kd.events import DistillationEvents
    from ignite_kd.representation import Batch, Features, Representation
    from ignite_kd.together import run_together
    from ignite_kd.weights import load_weights

__version__ = "0.1.0"

_HOME = {
    "EvaluationEngine": "engines",
    "StudentEngine": "engines",
    "TeacherEngine": "engines",
    "DistillationEvents": "events",
    "Batch": "representation",
    "Features": "representation",
    "Representation": "representation",
    "run_together": "together",
    "load_weights": "weights",
}
_FOLDERS = ("data", "handlers", "heads", "models", "recipes")

__all__ = [*_HOME, *_FOLDERS]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f"ignite_kd.{_HOME[name]}"), name)
    if name in _FOLDERS:
        return importlib.import_module(f"ignite_kd.{name}")
    raise AttributeError(f"module 'ignite_kd' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
