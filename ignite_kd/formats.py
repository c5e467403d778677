"""The forms in which a network leaves this package: how each is written, and how whoever gets the file calls it."""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ignite_kd.errors import UserError, first_line
from ignite_kd.weights import as_bytes

__all__ = ["FORMATS", "Format", "format_of"]

Call = Callable[[Tensor], Tensor]


class Format(NamedTuple):
    """One form.

    Args:
        suffix: of files that have it by default.
        write: (network, images as an example, its name) → the file's content.
        load: (file, a fresh network) → what turns images into logits.
        tolerance: how far logits may be from the original's, as a share of the largest one. Zero: to the bit.
        packages: that it needs beside those that are always there.
        usage: how to call the file, in Python.
    """

    suffix: str
    write: Callable[[nn.Module, Tensor, str], bytes]
    load: Callable[[Path, Callable[[], nn.Module]], Call]
    tolerance: float
    packages: tuple[str, ...]
    usage: str


def format_of(word: str | None, path: str | Path) -> str:
    """The format called `word`, else the one that the file's suffix says, else plain weights."""
    name = word or next((name for name, form in FORMATS.items() if form.suffix == Path(path).suffix.lower()), "weights")
    missing = [package for package in FORMATS[name].packages if importlib.util.find_spec(package) is None]
    if missing:
        raise UserError(
            f"{name} needs {', '.join(missing)}; install what it needs with: pip install {' '.join(missing)}"
        )
    return name


def _write_weights(network: nn.Module, images: Tensor, name: str) -> bytes:
    return as_bytes(network.state_dict())


def _load_weights(path: Path, fresh: Callable[[], nn.Module]) -> Call:
    network = fresh()
    network.load_state_dict(torch.load(path, weights_only=True))
    return network.eval()


def _record(network: nn.Module, images: Tensor, name: str) -> torch.export.ExportedProgram:
    """The network's operations for any number of images of that size."""
    try:
        with _quiet(), torch.no_grad():
            return torch.export.export(network, (images,), dynamic_shapes=({0: torch.export.Dim("batch")},))
    except Exception as error:  # it runs, and reasons about, the forward of anybody
        raise UserError(f"torch.export cannot take {name} ({first_line(error)}); take --format weights.") from None


def _write_program(network: nn.Module, images: Tensor, name: str) -> bytes:
    import io

    content = io.BytesIO()
    torch.export.save(_record(network, images, name), content)
    return content.getvalue()


def _load_program(path: Path, fresh: Callable[[], nn.Module]) -> Call:
    with _quiet():
        return torch.export.load(path).module()


def _write_onnx(network: nn.Module, images: Tensor, name: str) -> bytes:
    program = _record(network, images, name)
    try:
        with _quiet():
            written = torch.onnx.export(program, input_names=["images"], output_names=["logits"], verbose=False)
            assert written is not None
            return written.model_proto.SerializeToString()
    except Exception as error:
        raise UserError(f"ONNX cannot take {name} ({first_line(error)}); take --format torch-export.") from None


def _load_onnx(path: Path, fresh: Callable[[], nn.Module]) -> Call:
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return lambda images: torch.from_numpy(session.run(["logits"], {"images": images.numpy()})[0])


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporters' remarks, which are for those who write operators."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


FORMATS = {
    "weights": Format(
        ".th",
        _write_weights,
        _load_weights,
        0.0,
        (),
        "load_weights(models.build({model!r}, {classes}{options}), {file!r})",
    ),
    "torch-export": Format(
        ".pt2", _write_program, _load_program, 0.0, (), "torch.export.load({file!r}).module()(images)"
    ),
    "onnx": Format(
        ".onnx",
        _write_onnx,
        _load_onnx,
        1e-4,
        ("onnx", "onnxscript", "onnxruntime"),
        'onnxruntime.InferenceSession({file!r}).run(None, {{"images": images}})',
    ),
}
