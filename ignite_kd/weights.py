"""Weights in files: read strictly and safely whichever code wrote them, written so that nothing is ever lost."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ignite_kd.cards import check_place, read_card, save_with_card
from ignite_kd.errors import UserError
from ignite_kd.layouts import Content, read, rename, some
from ignite_kd.recognise import describe

__all__ = ["Loaded", "as_bytes", "describe", "load_trunk", "load_weights", "put", "read_card", "save_weights"]

_COUNTER = "num_batches_tracked"


@dataclass(frozen=True)
class Loaded:
    """What a file was: its layout in words, and what else it held (epoch, accuracy, …)."""

    layout: str
    meta: dict[str, Any]


def load_weights(model: nn.Module, path: str | Path) -> Loaded:
    """Put the weights in `path` into `model`; all of them, or an error and the model is as it was.

    Reads every layout that `layouts.py` lists, such as a plain state dict, the student of the released VID code (its
    branches and variances are dropped), and the files of RepDistiller, ITRD, mdistiller (the student of a whole
    distiller) and torchdistill. Nothing in a file is ever run.
    """
    return put(model, read(path), path)


def put(model: nn.Module, content: Content, path: str | Path) -> Loaded:
    """`load_weights` with what was read from `path` already."""
    own = {name: t for name, t in model.state_dict().items() if isinstance(t, Tensor)}
    content = rename(content, own)
    state = dict(content.state)
    for name, tensor in own.items():
        # files of old torch versions lack the counter; nothing but momentum=None ever reads it
        if name.endswith(_COUNTER) and name.replace(_COUNTER, "running_mean") in state:
            state.setdefault(name, torch.zeros_like(tensor, device="cpu"))
    _refuse_others(model, own, state, path)
    if any(t.layout is not torch.strided for t in state.values()):
        raise UserError(f"{path} holds sparse tensors; save it again with every tensor dense (to_dense).")
    broken = [name for name, t in state.items() if t.is_floating_point() and not t.isfinite().all()]
    if broken:
        raise UserError(
            f"{path} holds weights that are not finite ({some(broken)}): its training diverged; take another file."
        )
    model.load_state_dict(state)
    return Loaded(", ".join(content.layout), content.meta)


def load_trunk(model: nn.Module, path: str | Path) -> Loaded:
    """Put what `path` has for the model's `trunk` into it, all of that; the other layers stay as they are.

    The file is one of torchvision's network: its classifier is left out.
    """
    content, trunk = read(path), tuple(getattr(model, "trunk", ()))
    if not trunk:
        raise UserError(
            f"{getattr(model, 'name', type(model).__name__)} has no trunk of torchvision to load {path} into."
        )
    state = {name: t for name, t in content.state.items() if not name.startswith(("classifier.", "fc."))}
    if not any(name.split(".")[0] in trunk for name in state):
        looks = describe(content.state)
        raise UserError(
            f"{path} has nothing for {model.name}{f': it is {looks}' if looks else ''}; name torchvision's file."
        )
    own = {name: t for name, t in model.state_dict().items() if name.split(".")[0] not in trunk}
    return put(model, Content(state | own, content.meta, [*content.layout, "all but its classifier"]), path)


def save_weights(path: str | Path, state_dict: Mapping[str, Tensor], card: Mapping[str, Any]) -> Path | None:
    """Write the weights as a plain state dict, and their card, as `save_with_card` does."""
    check_place(path)
    return save_with_card(path, as_bytes(state_dict), card)


def as_bytes(state_dict: Mapping[str, Tensor]) -> bytes:
    """A file of these weights."""
    content = io.BytesIO()
    # cloned: torch.save would write all of a storage of which a tensor is only a view
    torch.save(
        {name: t.detach().cpu().clone(memory_format=torch.contiguous_format) for name, t in state_dict.items()}, content
    )
    return content.getvalue()


def _refuse_others(model: nn.Module, own: Mapping[str, Tensor], state: Mapping[str, Tensor], path: str | Path) -> None:
    missing = [name for name in own if name not in state]
    unexpected = [name for name in state if name not in own]
    differing = [
        f"{name} ({_size(t)} instead of {_size(own[name])})"
        for name, t in state.items()
        if name in own and (t.shape != own[name].shape or t.is_floating_point() != own[name].is_floating_point())
    ]
    if not (missing or unexpected or differing):
        return
    wanted = describe(own) or getattr(model, "name", type(model).__name__)
    looks = describe(state)
    if looks and looks != wanted:
        raise UserError(f"{path} looks like {looks}, not like {wanted}; name that network, or another file.")
    lists = {"missing": missing, "unexpected": unexpected, "of another shape": differing}
    found = "; ".join(f"{what}: {some(names)}" for what, names in lists.items() if names)
    raise UserError(f"{path} does not fit {wanted}: {found}; name the network that it was saved from, or another file.")


def _size(tensor: Tensor) -> str:
    kind = "" if tensor.is_floating_point() else f" {str(tensor.dtype).removeprefix('torch.')}"
    return ("×".join(map(str, tensor.shape)) or "one number") + kind
