"""A view on a student that learns features only: what AB and FSP train before the student proper learns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor, nn

from ignite_kd.errors import UserError
from ignite_kd.representation import Representation, represent

__all__ = ["FeatureModules"]


class FeatureModules(nn.Module):
    """The student, of which only the modules that make features learn; no weight exists twice.

    Its parameters are those of the student's `feature_modules`, and only they go to training mode. Everything else,
    the classifier and batch norms behind the last stage, keeps its weights and evaluates with its running statistics,
    as in the benchmark of Tian et al., 2020 (arXiv:1910.10699). Its state is the whole student's.

    Args:
        student: a model that declares `feature_modules`, names of its children.
        method: who asks, for the error.
    """

    def __init__(self, student: nn.Module, method: str) -> None:
        super().__init__()
        children = [name for name, _ in student.named_children()]
        declared = tuple(getattr(student, "feature_modules", ()))
        if not declared or not set(declared) <= set(children):
            raise UserError(
                f"{method} trains the features of the student first, but {type(student).__name__} does not declare "
                f"which of its children make them; set its feature_modules = (name, …) out of {', '.join(children)}."
            )
        self.student, self.declared = student, declared

    def represent(self, images: Tensor) -> Representation:
        return represent(self.student, images)

    def train(self, mode: bool = True) -> FeatureModules:
        self.training = mode
        self.student.eval()
        for name in self.declared:
            self.student.get_submodule(name).train(mode)
        return self

    def named_parameters(self, *args: Any, **kwargs: Any) -> Iterator[tuple[str, nn.Parameter]]:
        for name in self.declared:
            for key, parameter in self.student.get_submodule(name).named_parameters():
                yield f"{name}.{key}", parameter

    def state_dict(self, *args: Any, **kwargs: Any) -> Any:  # type: ignore[override]
        return self.student.state_dict(*args, **kwargs)

    def load_state_dict(self, state_dict: Mapping[str, Any], *args: Any, **kwargs: Any) -> Any:
        return self.student.load_state_dict(state_dict, *args, **kwargs)
