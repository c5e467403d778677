"""A `with` block in which nothing may make the host wait for a device. It finds on a CPU what would wait on a GPU."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

__all__ = ["NoSync", "Synchronises"]

_VALUE = "_local_scalar_dense equal allclose is_nonzero"
_SIZE = (
    "nonzero argwhere masked_select unique_dim unique_consecutive unique_dim_consecutive _unique _unique2 "
    "repeat_interleave bincount"
)
_DECOMPOSITION = (
    "_linalg_eigh _linalg_svd linalg_eig _linalg_eigvals linalg_lstsq _linalg_check_errors _linalg_solve_ex "
    "_linalg_slogdet linalg_ldl_factor_ex"
)
WAITS = {
    **dict.fromkeys(_VALUE.split(), "tells the host a value"),
    **dict.fromkeys(_SIZE.split(), "has a size that depends on data"),
    **dict.fromkeys(_DECOMPOSITION.split(), "asks whether a decomposition succeeded"),
    "lift_fresh": "makes a tensor of the host's numbers, which a GPU has to fetch",
}
MASKS = (torch.bool, torch.uint8)


class Synchronises(AssertionError):
    """Names the operation; the traceback says where."""


class NoSync(TorchDispatchMode):
    """Raises at the first operation that waits.

    Args:
        allowed: how often which operations may come nevertheless; `left` says what of it did not.
    """

    def __init__(self, allowed: Mapping[str, int] | None = None) -> None:
        super().__init__()
        self.left = Counter(allowed or {})

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = func.overloadpacket.__name__
        reason = _reason(name, args, kwargs)
        if reason and not self.left[name]:
            raise Synchronises(f"{func} {reason}: on a GPU the host would wait.")
        if reason:
            self.left[name] -= 1
        return func(*args, **kwargs)


def _reason(name: str, args: Any, kwargs: Any) -> str | None:
    if name in ("index", "index_put", "index_put_", "_index_put_impl_"):
        indices = [t for t in tree_leaves(args[1]) if isinstance(t, Tensor)]
        return "picks by a mask" if any(t.dtype in MASKS for t in indices) else None
    if name == "repeat_interleave" and kwargs.get("output_size") is not None:
        return None
    source = {"_to_copy": args[:1], "copy_": args[1:2]}.get(name, ())
    if source and source[0].device.type != "cpu" and _target(name, args, kwargs).type == "cpu":
        return "copies to the host"
    return WAITS.get(name)


def _target(name: str, args: Any, kwargs: Any) -> torch.device:
    return args[0].device if name == "copy_" else torch.device(kwargs.get("device") or args[0].device)
