"""Weights in files: read strictly and safely whichever code wrote them, written so that nothing is ever lost."""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import math
import re
import warnings
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ignite_kd import models
from ignite_kd.errors import UserError
from ignite_kd.files import atomic_write, check_writable, digest_of

__all__ = ["Loaded", "describe", "load_weights", "read_card", "save_weights"]

_WRAPPERS = ("model", "state_dict", "model_state_dict", "net", "student")
_COUNTER = "num_batches_tracked"


@dataclass(frozen=True)
class Loaded:
    """What a file was: its layout in words, and what else it held (epoch, accuracy, …)."""

    layout: str
    meta: dict[str, Any]


def load_weights(model: nn.Module, path: str | Path) -> Loaded:
    """Put the weights in `path` into `model`; all of them, or an error and the model is as it was.

    Reads a plain state dict, the student of the released VID code (its branches and variances are dropped), and the
    files of RepDistiller and ITRD, mdistiller (the student of a whole distiller), torchdistill, and of models wrapped
    by DataParallel or torch.compile. Nothing in a file is ever run.
    """
    state, meta, layout = _state_of(_read(path), path)
    own = {name: t for name, t in model.state_dict().items() if isinstance(t, Tensor)}
    state = _to_names_of(own, state, layout)
    for name, tensor in own.items():
        # files of old torch versions lack the counter; nothing but momentum=None ever reads it
        if name.endswith(_COUNTER) and name.replace(_COUNTER, "running_mean") in state:
            state.setdefault(name, torch.zeros_like(tensor, device="cpu"))
    _refuse_others(model, own, state, path)
    broken = [name for name, t in state.items() if t.is_floating_point() and not t.isfinite().all()]
    if broken:
        raise UserError(
            f"{path} holds weights that are not finite ({_some(broken)}): its training diverged; take another file."
        )
    model.load_state_dict(state)
    return Loaded(", ".join(layout), meta)


def describe(state: Mapping[str, Tensor]) -> str | None:
    """Which of this package's networks has exactly these names and shapes: "wrn_16_2 with 100 classes"; else None."""
    shapes = _shapes(state)
    # the classifier is the last matrix of every network here
    classes = next((shape[0] for shape in reversed(shapes.values()) if len(shape) == 2), 0)
    if not classes:
        return None
    for name, options, words in _guesses(shapes):
        with torch.device("meta"):  # names and shapes alone: no memory, no random numbers
            candidate = models.build(name, num_classes=classes, **options)
        if _shapes(candidate.state_dict()) == shapes:
            return f"{name} with {classes} classes{words}"
    return None


def save_weights(path: str | Path, state_dict: Mapping[str, Tensor], card: Mapping[str, Any]) -> Path | None:
    """Write the weights, and beside them `<path>.json`: their card and checksum.

    Other weights that stand there are copied, with their card, to `<path>.previous`, or `.previous-2`, … where that is
    taken: hours of training do not go because a short run used the same name twice. Returns where, or None. A crash
    leaves the old weights or the new ones; a card that is then of the other ones is noticed by its checksum.
    """
    check_writable(path)
    path, content = Path(path), io.BytesIO()
    # cloned: torch.save would write all of a storage of which a tensor is only a view
    torch.save(
        {name: t.detach().cpu().clone(memory_format=torch.contiguous_format) for name, t in state_dict.items()}, content
    )
    digest = hashlib.sha256(content.getbuffer()).hexdigest()
    kept = _keep(path) if path.exists() and digest_of(path) != digest else None
    atomic_write(path, content.getvalue())
    told = json.dumps({**card, "sha256": digest}, indent=2, ensure_ascii=False, default=str)
    atomic_write(_card_of(path), told + "\n")
    return kept


def read_card(path: str | Path) -> dict[str, Any] | None:
    """The card beside the weights in `path`; None where none is, or (with a warning) where it is another file's."""
    beside = _card_of(path)
    try:
        card = json.loads(beside.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UserError(f"cannot read {beside}: {error.strerror}; check its permissions.") from None
    except ValueError:
        card = None
    if not isinstance(card, dict):
        raise UserError(f"{beside} is damaged: it is no JSON object; restore it, or delete it to go on without a card.")
    if card.get("sha256") != digest_of(path):
        warnings.warn(f"{beside} is the card of another file than {path}: the checksums differ.", stacklevel=2)
        return None
    return card


def _read(path: str | Path) -> Any:
    try:
        content = Path(path).read_bytes()
    except IsADirectoryError:
        raise UserError(f"cannot read {path}: it is a folder; name the file of weights in it.") from None
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}; check the path, or train that network first.") from None
    torn = UserError(f"{path} is torn, or no file of torch.save; copy it again, or train that network again.")
    if zipfile.is_zipfile(io.BytesIO(content)):  # torch.load does not look at the checksums that torch.save writes
        try:
            intact = zipfile.ZipFile(io.BytesIO(content)).testzip() is None
        except Exception:
            intact = False
        if not intact:
            raise torn
    try:
        # torchdistill keeps its arguments in a Namespace, which is plain data
        with torch.serialization.safe_globals([argparse.Namespace]):
            return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # a parser of foreign bytes raises anything
        found = re.search(r"GLOBAL (\S+)|TorchScript", str(error))
        if found is None:
            raise torn from None
        raise UserError(
            f"{path} holds more than tensors ({found[1] or found[0]}); this package never unpickles code: open it where"
            " you trust it, and torch.save its state_dict() alone."
        ) from None


def _state_of(content: Any, path: str | Path) -> tuple[dict[str, Tensor], dict[str, Any], list[str]]:
    """The state dict in a file, what else the file says, and the layout so far."""
    if _is_state(content):
        return dict(content), {}, ["state dict"]
    if isinstance(content, Mapping):
        for wrapper in _WRAPPERS:
            if _is_state(content.get(wrapper)):
                others = {str(name): _plain(value) for name, value in content.items() if name != wrapper}
                meta = {name: value for name, value in others.items() if value is not None}
                return dict(content[wrapper]), meta, [f"state dict under '{wrapper}'"]
    what = f"a {type(content).__name__}"
    if isinstance(content, Mapping):
        what += f" with {_some(content)}" if content else " with nothing in it"
    raise UserError(f"{path} holds {what}, but no state dict; torch.save the network's state_dict().")


def _is_state(value: Any) -> bool:
    if not isinstance(value, Mapping) or not value:
        return False
    return all(isinstance(name, str) and isinstance(t, Tensor) for name, t in value.items())


def _plain(value: Any) -> Any:
    if isinstance(value, Tensor) and value.numel() == 1:
        value = value.item()
    return value if isinstance(value, (bool, int, float, str)) else None


def _to_names_of(own: Mapping[str, Tensor], state: dict[str, Tensor], layout: list[str]) -> dict[str, Tensor]:
    """The state with the names that `own` has, as far as the layouts that are known lead; they are added to `layout`.

    What `own` has itself is never touched: a network may well have a child called `student` or `block1`.
    """
    for prefix in ("module.", "_orig_mod.", "module.", "student."):
        mine = {name.removeprefix(prefix): t for name, t in state.items() if name.startswith(prefix)}
        # a distiller holds the teacher and helpers too; other wrappers hold one network
        whole = len(mine) == len(state) or prefix == "student."
        if mine and whole and not any(name.startswith(prefix) for name in own):
            layout.append(f"'{prefix}' before the names" + (", the rest dropped" if len(mine) < len(state) else ""))
            state = mine
    extras = re.compile(r"variance_param\d+|branch\d+\..+")
    if any(name.startswith("variance_param") for name in state):
        kept = {name: t for name, t in state.items() if name in own or not extras.fullmatch(name)}
        if len(kept) < len(state):
            layout.append("the released VID student's branches and variances dropped")
            state = kept
    renamed = {name if name in own else _from_repdistiller(name): t for name, t in state.items()}
    if renamed.keys() != state.keys():
        layout.append("RepDistiller's names")
    return renamed


def _from_repdistiller(name: str) -> str:
    return re.sub(r"^block([123]\.layer\.)", r"layer\1", name).replace(".convShortcut.", ".conv_shortcut.")


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
    wanted = describe(own) or type(model).__name__
    looks = describe(state)
    if looks and looks != wanted:
        raise UserError(f"{path} looks like {looks}, not like {wanted}; name that network, or another file.")
    lists = {"missing": missing, "unexpected": unexpected, "of another shape": differing}
    found = "; ".join(f"{what}: {_some(names)}" for what, names in lists.items() if names)
    raise UserError(f"{path} does not fit {wanted}: {found}; name the network that it was saved from, or another file.")


def _guesses(shapes: Mapping[str, tuple[int, ...]]) -> Iterator[tuple[str, dict[str, Any], str]]:
    """Names of networks that may have these shapes, options to build them with, and words for those options."""
    blocks = [match for name in shapes if (match := re.fullmatch(r"layer1\.layer\.(\d+)\.conv1\.weight", name))]
    if blocks:
        yield f"wrn_{6 * len(blocks) + 4}_{max(1, shapes[blocks[0][0]][0] // 16)}", {}, ""
    layers = [shape for name, shape in shapes.items() if re.fullmatch(r"hidden\d+\.0\.weight", name)]
    if layers and len(layers[0]) == 2:
        width, inputs = layers[0]
        options = {"hidden": len(layers), "image_size": math.isqrt(inputs // 3)}
        words = f", {len(layers)} hidden layers and {options['image_size']}×{options['image_size']} images"
        yield f"mlp_{width}", options, "" if tuple(options.values()) == (3, 32) else words
    for name in models.names():
        yield name, {}, ""


def _shapes(state: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(t.shape) for name, t in state.items() if not name.endswith(_COUNTER)}


def _size(tensor: Tensor) -> str:
    kind = "" if tensor.is_floating_point() else f" {str(tensor.dtype).removeprefix('torch.')}"
    return ("×".join(map(str, tensor.shape)) or "one number") + kind


def _some(names: Iterable[Any]) -> str:
    """At most three names, then how many more there are."""
    names = [str(name) for name in names]
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _keep(path: Path) -> Path:
    """Copy weights and card to the first free name; copied, not moved, so that `path` is there at every instant."""
    number = 1
    while (kept := path.with_name(f"{path.name}.previous{f'-{number}' if number > 1 else ''}")).exists():
        number += 1
    card = _card_of(path)
    _card_of(kept).unlink(missing_ok=True)
    if card.exists():
        atomic_write(_card_of(kept), card.read_bytes())
    atomic_write(kept, path.read_bytes())
    return kept


def _card_of(path: str | Path) -> Path:
    return Path(f"{path}.json")
