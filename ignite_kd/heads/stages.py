"""Which stage of the student learns from which stage of the teacher."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from ignite_kd.errors import UserError, unknown

__all__ = ["Stages", "channels_of", "norms_of", "pair_stages", "refuse_vectors", "strides_of"]

Stages = str | Sequence[str] | Mapping[str, str] | None  # how a user names stages, see `pair_stages`


def channels_of(model: nn.Module | None) -> Mapping[str, int]:
    """Stage → channels, as the model declares them."""
    found = getattr(model, "channels", None)
    if not isinstance(found, Mapping):
        raise UserError(
            f"{type(model).__name__} does not declare the channels of its stages; "
            'wrap it: models.tap(model, ["layer1", …]), or give it represent(images) and channels.'
        )
    return found


def strides_of(model: nn.Module | None) -> Mapping[str, int]:
    """Stage → how many times smaller than the image its map is, as the model declares it; vectors have none."""
    found = getattr(model, "strides", None)
    return found if isinstance(found, Mapping) else {}


def norms_of(model: nn.Module | None) -> Mapping[str, tuple[Tensor, Tensor]]:
    """Stage → (scale, shift) of the batch norm before its rectification, for the stages whose model declares one."""
    found = {}
    for stage, place in getattr(model, "norms", {}).items():
        norm: Any = model.get_submodule(place) if model is not None else None
        if getattr(norm, "weight", None) is not None:
            found[stage] = norm.weight, norm.bias
    return found


def pair_stages(
    student: Mapping[str, int], teacher: Mapping[str, int], stages: Stages = None, default: str = "all"
) -> list[tuple[str, str]]:
    """(student's stage, teacher's stage) pairs from the two models' `channels`.

    `stages` may be one name, several, a mapping, or a word such as `layer2+layer3` or `layer2:layer3+pooled` as the
    command line writes it. Where it is None, `default` says what the method reads of the stages between stem and
    pooling: `all` that both have by name, the `second` of those, or the `last` one of either network. Networks that
    share no such stage meet at their pooled vectors.
    """
    if isinstance(stages, str):
        stages = [word for word in stages.split("+") if word]
    if stages is None:
        pairs = _default_pairs(student, teacher, default)
    elif isinstance(stages, Mapping):
        pairs = list(stages.items())
    else:
        pairs = [(own, shown or own) for own, _, shown in (word.partition(":") for word in stages)]
    if not pairs:
        raise UserError("stages should name at least one stage.")
    for own, shown in pairs:
        for who, stage, known in (("student", own, student), ("teacher", shown, teacher)):
            if stage not in known:
                raise UserError(f"the {who} has no stage '{stage}'; it gives {', '.join(known) or 'none'}.")
    return pairs


def _default_pairs(student: Mapping[str, int], teacher: Mapping[str, int], default: str) -> list[tuple[str, str]]:
    own, shown = ([stage for stage in channels if stage not in ("stem", "pooled")] for channels in (student, teacher))
    common = [stage for stage in own if stage in shown]
    if default == "last" and own and shown:
        return [(own[-1], shown[-1])]
    if default == "second" and common:
        common = [common[min(1, len(common) - 1)]]
    if default not in ("all", "second", "last"):
        raise unknown("default", default, ("all", "second", "last"))
    return [(stage, stage) for stage in common or ["pooled"]]


def refuse_vectors(
    method: str, pairs: Sequence[tuple[str, str]], student: nn.Module | None = None, teacher: nn.Module | None = None
) -> None:
    """Ends in a UserError where a stage is known to be a vector: `pooled`, and what has no stride where others have."""
    for own, shown in pairs:
        for who, stage, model in (("student", own, student), ("teacher", shown, teacher)):
            declared = isinstance(getattr(model, "strides", None), Mapping)
            if stage in ("pooled", "logits") or (declared and stage not in strides_of(model)):
                raise UserError(
                    f"{method} compares the positions of maps, but the {who}'s '{stage}' is a vector; "
                    "name stages that are maps, or take a method that needs none (kd, rkd, sp)."
                )
