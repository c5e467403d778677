"""Files of weights as other codes write them: what is in them, and its names as the networks of this package have them.

| layout | file |
|---|---|
| RepDistiller, ITRD | {"model": …, "epoch", "accuracy" or "best_acc", "optimizer"}, {"opt": Namespace, "model": …} |
| seed 002 | a bare state dict with `module.` before RepDistiller's names |
| mdistiller | {"model": `module.student.…`, `module.teacher.…`, …}, {"model": …} |
| ReviewKD | a bare state dict with `student.…` and `abfs.…` |
| HSAKD | {"net": `backbone.…`, `auxiliary….…`} |
| torchdistill | {"model": …, "optimizer", "lr_scheduler", "best_value", "args": Namespace} |
| attention-transfer | {"params": flat names, "stats": …} |
| released VID code | a bare state dict, the student's with variances and branches |
| torchvision, this package | a bare state dict |
"""

from __future__ import annotations

import argparse
import io
import re
import zipfile
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ignite_kd.errors import UserError

__all__ = ["Content", "opened", "read", "rename", "some"]

_WRAPPERS = ("model", "state_dict", "model_state_dict", "net", "student", "params")


@dataclass
class Content:
    """A state dict from a file, what else the file said (epoch, accuracy, …), and its layout in words."""

    state: dict[str, Tensor]
    meta: dict[str, Any] = field(default_factory=dict)
    layout: list[str] = field(default_factory=list)


def read(path: str | Path) -> Content:
    """The weights in `path`, under the names that they have there. Nothing in a file is ever run."""
    content = opened(path)
    if _is_state(content):
        return Content(dict(content), {}, ["state dict"])
    if isinstance(content, Mapping):
        for wrapper in _WRAPPERS:
            if _is_state(content.get(wrapper)):
                state, used = dict(content[wrapper]), {wrapper}
                if wrapper == "params" and _is_state(content.get("stats")):  # early files of attention-transfer
                    state, used = state | content["stats"], {"params", "stats"}
                others = {str(name): _plain(value) for name, value in content.items() if name not in used}
                meta = {name: value for name, value in others.items() if value is not None}
                return Content(state, meta, [f"state dict under '{wrapper}'"])
    what = f"a {type(content).__name__}"
    if isinstance(content, Mapping):
        what += f" with {some(content)}" if content else " with nothing in it"
    raise UserError(f"{path} holds {what}, but no state dict; torch.save the network's state_dict().")


def rename(content: Content, own: Collection[str] = ()) -> Content:
    """The content under the names of this package's networks, as far as the known layouts lead.

    What `own`, the names of the network that is to be loaded, has itself is never touched: a network may well have a
    child called `student` or `block1`.
    """
    state, layout = content.state, list(content.layout)
    for prefix, rest in _PREFIXES:
        mine = {name.removeprefix(prefix): t for name, t in state.items() if name.startswith(prefix)}
        others = [name for name in state if not name.startswith(prefix)]
        if mine and not any(name.startswith(prefix) for name in own) and all(rest.match(name) for name in others):
            layout.append(f"'{prefix}' before the names" + (", the rest dropped" if others else ""))
            state = mine
    if any(name.startswith("variance_param") for name in state):
        kept = {name: t for name, t in state.items() if name in own or not _VID_EXTRAS.fullmatch(name)}
        if len(kept) < len(state):
            layout.append("the released VID student's branches and variances dropped")
            state = kept
    for words, new_name in _NAMES.items():
        renamed = {name if name in own else new_name(name): t for name, t in state.items()}
        if renamed.keys() != state.keys() and len(renamed) == len(state):
            layout.append(words)
            state = renamed
    return Content(state, content.meta, layout)


def some(names: Iterable[Any]) -> str:
    """At most three names, then how many more there are."""
    names = [str(name) for name in names]
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


# What a wrapper puts before the names, in the order in which wrappers are worn, and what else may stand beside it:
# a distiller holds the teacher and helpers too, other wrappers hold one network.
_NOTHING, _ANYTHING = re.compile(r"(?!)"), re.compile("")
_PREFIXES = (
    ("module.", _NOTHING),
    ("_orig_mod.", _NOTHING),
    ("module.", _NOTHING),
    ("student.", _ANYTHING),
    ("backbone.", re.compile("auxiliary")),
)
_VID_EXTRAS = re.compile(r"variance_param\d+|branch\d+\..+")


def _repdistiller(name: str) -> str:
    return re.sub(r"^block([123]\.layer\.)", r"layer\1", name).replace(".convShortcut.", ".conv_shortcut.")


def _attention_transfer(name: str) -> str:
    """group0.block1.conv0 → layer1.layer.1.conv1.weight: all is counted from 0, and convolutions are bare tensors."""
    if name == "conv0":
        return "conv1.weight"
    if name.startswith("bn."):
        return f"bn1.{name.removeprefix('bn.')}"
    match = re.fullmatch(r"group([012])\.block(\d+)\.(?:(conv)([01])|(convdim)|(bn)([01])\.(\w+))", name)
    if match is None:
        return name
    group, block, conv, conv_number, shortcut, _, norm_number, entry = match.groups()
    if shortcut:
        last = "conv_shortcut.weight"
    else:
        last = f"conv{int(conv_number) + 1}.weight" if conv else f"bn{int(norm_number) + 1}.{entry}"
    return f"layer{int(group) + 1}.layer.{block}.{last}"


def _old_densenet(name: str) -> str:
    return re.sub(r"(denselayer\d+\.(?:norm|conv))\.([12])\.", r"\1\2.", name)


_NAMES: dict[str, Callable[[str], str]] = {
    "RepDistiller's names": _repdistiller,
    "attention-transfer's names": _attention_transfer,
    "names of densenet before torchvision 0.3": _old_densenet,
}


def opened(path: str | Path) -> Any:
    """What torch.save wrote into a file, of which nothing is run and all must be intact."""
    try:
        content = Path(path).read_bytes()
    except IsADirectoryError:
        raise UserError(f"cannot read {path}: it is a folder; name the file of weights in it.") from None
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}; check the path, or train that network first.") from None
    torn = UserError(f"{path} is torn, or no file of torch.save; copy it again, or train that network again.")
    if zipfile.is_zipfile(io.BytesIO(content)):  # torch.load does not look at the checksums that torch.save writes
        try:
            archive = zipfile.ZipFile(io.BytesIO(content))
            intact = archive.testzip() is None
        except Exception:
            intact = False
        if not intact:
            raise torn
        if any(name.endswith("archive_format") for name in archive.namelist()):
            raise UserError(f"{path} is a program of torch.export, no weights; name the weights that it was made of.")
    try:
        with torch.serialization.safe_globals(_plain_data()):
            return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # a parser of foreign bytes raises anything
        found = re.search(r"GLOBAL (\S+)|TorchScript", str(error))
        if found is None:
            raise torn from None
        raise UserError(
            f"{path} holds more than tensors ({found[1] or found[0]}); this package never unpickles code: open it where"
            " you trust it, and torch.save its state_dict() alone."
        ) from None


def _plain_data() -> list[Any]:
    """What foreign files hold beside tensors and is mere data: arguments in a Namespace, numbers of numpy."""
    scalar = np.float64(0).__reduce__()[0]
    kinds = [type(np.dtype(name)) for name in ("float64", "float32", "int64")]
    named = [(scalar, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")]
    return [argparse.Namespace, np.dtype, *kinds, *named]


def _is_state(value: Any) -> bool:
    if not isinstance(value, Mapping) or not value:
        return False
    return all(isinstance(name, str) and isinstance(t, Tensor) for name, t in value.items())


def _plain(value: Any) -> Any:
    if isinstance(value, (Tensor, np.generic)) and np.prod(value.shape) == 1:
        value = value.item()
    return value if isinstance(value, (bool, int, float, str)) else None
