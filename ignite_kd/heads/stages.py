"""Which stage of the student learns from which stage of the teacher."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import nn

from ignite_kd.errors import UserError

__all__ = ["channels_of", "pair_stages"]


def channels_of(model: nn.Module | None) -> Mapping[str, int]:
    """Stage → channels, as the model declares them."""
    found = getattr(model, "channels", None)
    if not isinstance(found, Mapping):
        raise UserError(
            f"{type(model).__name__} does not declare the channels of its stages; "
            'wrap it: models.tap(model, ["layer1", …]), or give it represent(images) and channels.'
        )
    return found


def pair_stages(
    student: Mapping[str, int],
    teacher: Mapping[str, int],
    stages: str | Sequence[str] | Mapping[str, str] | None = None,
) -> list[tuple[str, str]]:
    """(student's stage, teacher's stage) pairs from the two models' `channels`.

    `stages` may be one name, several, a mapping, or a word such as `layer2+layer3` or `layer2:layer3+pooled` as the
    command line writes it. By default: the stages between stem and pooling that both have by name, else the pooled
    vectors.
    """
    if isinstance(stages, str):
        stages = [word for word in stages.split("+") if word]
    if stages is None:
        common = [s for s in student if s in teacher and s not in ("stem", "pooled")]
        pairs = [(s, s) for s in common or ["pooled"]]
    elif isinstance(stages, Mapping):
        pairs = list(stages.items())
    else:
        pairs = [(own, shown or own) for own, _, shown in (word.partition(":") for word in stages)]
    if not pairs:
        raise UserError("stages should name at least one stage.")
    for own, shown in pairs:
        for who, stage, known in (("student", own, student), ("teacher", shown, teacher)):
            if stage not in known:
                raise UserError(f"the {who} has no stage '{stage}'; it gives {', '.join(known)}.")
    return pairs
