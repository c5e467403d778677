"""Weights in files: read strictly and safely in every layout that the field uses, written so that nothing is lost."""

from __future__ import annotations

import hashlib
import io
import json
import os
import pickle
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ignite_kd.errors import UserError
from ignite_kd.files import atomic_write

__all__ = ["Loaded", "describe", "load_weights", "read_card", "save_weights"]

State = dict[str, Tensor]


@dataclass(frozen=True)
class Loaded:
    """What was found in a file: the layout, in words, and the plain values that lay beside the weights."""

    layout: str
    meta: dict[str, Any] = field(default_factory=dict)


def load_weights(model: nn.Module, path: str | Path) -> Loaded:
    """Put the weights of a file into `model`: all of them, or none and an error that says why.

    Knows plain state dicts, students of the released VID code, RepDistiller/ITRD and torchdistill (`{"model": …}`),
    mdistiller (`module.student.`) and the `module.` prefix of wrapped models. Nothing but tensors and plain values is
    ever unpickled.
    """
    state, layout, meta = _unwrap(_read(path), path)
    wanted = model.state_dict()
    state, renamed = _rename(state, wanted)
    if renamed:
        layout = f"{layout}, {renamed}"
    for name, tensor in wanted.items():  # files of old PyTorch versions have no such counters
        if name.endswith("num_batches_tracked") and name not in state:
            state[name] = torch.zeros_like(tensor, device="cpu")
    _refuse_misfit(state, wanted, model, path)
    for name, tensor in state.items():
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise UserError(f"{path} holds numbers that are NaN or infinite, in {name}; train that network again.")
    model.load_state_dict(state)
    return Loaded(layout, meta)


def save_weights(path: str | Path, state: Mapping[str, Tensor], card: Mapping[str, Any]) -> None:
    """Write a state dict and, beside it, its card with the file's sha256.

    Other weights that stand there are kept, with their card, as `<name>.previous`.
    """
    path = Path(path)
    content = io.BytesIO()
    torch.save({name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}, content)
    digest = hashlib.sha256(content.getbuffer()).hexdigest()
    if path.exists() and hashlib.sha256(path.read_bytes()).hexdigest() != digest:
        previous = path.with_name(f"{path.name}.previous")
        # copies, not renames: at every instant there is a file of that name
        atomic_write(previous, path.read_bytes())
        if _card_path(path).exists():
            atomic_write(_card_path(previous), _card_path(path).read_bytes())
        else:
            _card_path(previous).unlink(missing_ok=True)
    atomic_write(path, content.getvalue())
    atomic_write(_card_path(path), json.dumps({**card, "sha256": digest}, indent=2) + "\n")


def read_card(path: str | Path) -> dict[str, Any] | None:
    """The card beside a file of weights; None where there is none, or where it is another file's."""
    beside = _card_path(Path(path))
    if not beside.exists():
        return None
    try:
        card = dict(json.loads(beside.read_text()))
    except (OSError, ValueError, TypeError):
        raise UserError(f"{beside} is no card; delete it, or restore the one that was written with {path}.") from None
    if card.get("sha256") != hashlib.sha256(Path(path).read_bytes()).hexdigest():
        warnings.warn(f"{beside} is the card of other weights than {path}; it is not used.", stacklevel=2)
        return None
    return card


def describe(state: Mapping[str, Tensor]) -> str | None:
    """What network of this package a state dict looks like, e.g. `wrn_16_2 with 100 classes`."""
    blocks = {int(m[1]) for name in state if (m := re.match(r"layer1\.layer\.(\d+)\.", name))}
    if blocks and {"conv1.weight", "layer1.layer.0.conv1.weight", "fc.weight"} <= state.keys():
        width = state["layer1.layer.0.conv1.weight"].shape[0] // 16
        return f"wrn_{6 * len(blocks) + 4}_{width} with {state['fc.weight'].shape[0]} classes"
    if {"hidden1.0.weight", "fc.weight"} <= state.keys():
        return f"mlp_{state['hidden1.0.weight'].shape[0]} with {state['fc.weight'].shape[0]} classes"
    return None


def _card_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.json")


def _read(path: str | Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except IsADirectoryError:
        raise UserError(f"{path} is a folder; name a file of weights.") from None
    except OSError as error:
        reason = error.strerror or error
        raise UserError(f"cannot read {path}: {reason}; check the path, or train that network first.") from None
    except pickle.UnpicklingError as error:
        if "Unsupported global" in str(error) or "Unsupported class" in str(error):
            raise UserError(
                f"{path} holds Python objects beside tensors, which are never loaded here because they can run code; "
                "save its state dict alone and name that file."
            ) from None
        raise _torn(path) from None
    except (RuntimeError, EOFError, ValueError, KeyError, AttributeError, IndexError, TypeError):
        raise _torn(path) from None


def _torn(path: str | Path) -> UserError:
    size = os.path.getsize(path)
    return UserError(
        f"{path} is torn or no file of weights ({size:,} bytes); copy it again, or train that network again."
    )


def _unwrap(found: Any, path: str | Path) -> tuple[State, str, dict[str, Any]]:
    """The state dict in what a file held, what its layout is called, and what else lay there."""
    layout, meta = "plain state dict", {}
    if isinstance(found, Mapping):
        inner = next((key for key in ("model", "state_dict") if isinstance(found.get(key), Mapping)), None)
        if inner is not None:
            meta = {k: v for k, v in found.items() if isinstance(v, (str, int, float, bool)) or _is_number(v)}
            meta = {k: v.item() if isinstance(v, Tensor) else v for k, v in meta.items()}
            found, layout = found[inner], f"state dict under '{inner}'"
    is_state = isinstance(found, Mapping) and found and all(isinstance(v, Tensor) for v in found.values())
    if not is_state:
        kind = f"a dictionary of {', '.join(map(str, list(found)[:4]))}, …" if isinstance(found, Mapping) else "no"
        kind = kind if isinstance(found, Mapping) and found else f"{type(found).__name__}"
        raise UserError(
            f"{path} holds {kind} where a state dict is needed; save model.state_dict() and name that file."
        )
    return dict(found), layout, meta


def _is_number(value: Any) -> bool:
    return isinstance(value, Tensor) and value.numel() == 1


def _rename(state: State, wanted: Mapping[str, Tensor]) -> tuple[State, str]:
    """The file's entries under this package's names, and what had to be done for that."""
    done = []
    while all(name.startswith("module.") for name in state):
        state = {name.removeprefix("module."): tensor for name, tensor in state.items()}
        done.append("'module.' prefixes")
    if any(name.startswith("student.") for name in state) and not any(n.startswith("student.") for n in wanted):
        # mdistiller: teacher and helpers are saved with the student
        state = {n.removeprefix("student."): tensor for n, tensor in state.items() if n.startswith("student.")}
        done.append("the 'student.' part")
    if "variance_param1" in state and "variance_param1" not in wanted:
        vid = re.compile(r"(variance_param|branch)\d+(\.|$)")
        state = {name: tensor for name, tensor in state.items() if not vid.match(name)}
        done.append("a student of the released VID code")
    if "block1.layer.0.bn1.weight" in state and "layer1.layer.0.bn1.weight" in wanted:
        state = {_from_repdistiller(name): tensor for name, tensor in state.items()}
        done.append("names of RepDistiller")
    return state, ", ".join(done)


def _from_repdistiller(name: str) -> str:
    return re.sub(r"^block(\d)\.", r"layer\1.", name).replace(".convShortcut.", ".conv_shortcut.")


def _refuse_misfit(state: State, wanted: Mapping[str, Tensor], model: nn.Module, path: str | Path) -> None:
    missing = [name for name in wanted if name not in state]
    unexpected = [name for name in state if name not in wanted]
    other = [
        f"{name} is {_shape(state[name])} and should be {_shape(wanted[name])}"
        for name in wanted
        if name in state and state[name].shape != wanted[name].shape
    ]
    if not (missing or unexpected or other):
        return
    seen, needed = describe(state), describe(wanted) or getattr(model, "name", type(model).__name__)
    if seen and seen != needed:
        raise UserError(
            f"{path} looks like {seen}, not like {needed}; name the network and the data it was trained for."
        )
    parts = [f"{what}: {_some(names)}" for what, names in
             (("missing", missing), ("unexpected", unexpected), ("of another shape", other)) if names]  # fmt: skip
    raise UserError(f"{path} does not fit {needed}; {'; '.join(parts)}.")


def _some(names: list[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more


def _shape(tensor: Tensor) -> str:
    return "×".join(map(str, tensor.shape)) or "one number"
