"""A trained network for use elsewhere: one file, a card beside it, and the proof that it gives the same logits."""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ignite_kd import data, models
from ignite_kd.cards import card_path, check_place, epochs_of, read_card, save_with_card
from ignite_kd.data.folder import folder_to_evaluate
from ignite_kd.errors import RunFailed, UserError, first_line
from ignite_kd.files import digest_of
from ignite_kd.formats import FORMATS, format_of
from ignite_kd.handlers import versions
from ignite_kd.loaders import normalisation
from ignite_kd.recognise import options_of
from ignite_kd.trained import Trained, from_file, from_run

__all__ = ["Exported", "export"]

_RANDOM, _REAL = (1, 8), 64  # images to compare logits on, in batches: what was recorded must take any number


@dataclass(frozen=True)
class Exported:
    """What was written, and how far its logits are from the original's."""

    file: str
    source: Trained
    size: int
    card: dict[str, Any]
    kept: Path | None

    def lines(self) -> list[str]:
        """For people."""
        card, source, check = self.card, self.source, self.card["export"]["check"]
        edge = card["input"]["shape"][-1]
        options = options_of(card["model"], source.known, edge)
        told = "".join(f", {name}={value!r}" for name, value in options.items())
        words = {"model": card["model"], "classes": card["num_classes"], "options": told, "file": self.file}
        real = f" and {check['real_images']} real" if check["real_images"] else ""
        difference = check["largest_difference"]
        lines = [
            f"network  {card['model']}, {card['num_classes']} classes (by {source.named_by}) from {source.path}",
            f"wrote    {self.file}: {card['format']}, {self.size / 1e6:.2f} MB; its card is {card_path(self.file)}",
            f"images   any number of 3×{edge}×{edge}, {_words(card['normalisation'])}",
            f"checked  loaded again, its logits of {check['random_images']} random{real} images are "
            + (f"alike to {difference:.1e} ({check['allowed']:.1e} allowed)" if difference else "identical"),
            f"use      {FORMATS[card['format']].usage.format(**words)}",
        ]
        if card.get("status") not in (None, "finished"):
            lines.append(f"note     its run is not finished ({card['status']}; {epochs_of(card)} epochs are done)")
        return [*lines, f"kept     {self.kept}: what {self.file} was before"] if self.kept else lines


def export(
    source: str,
    output: str,
    *,
    format: str | None = None,
    which: str | None = None,
    model: str | None = None,
    num_classes: int | None = None,
    image_size: int | None = None,
    with_normalisation: bool = False,
    dataset: str | None = None,
    data_dir: str = "./data/",
    command: str = "",
) -> Exported:
    """Write the trained network in `source`, a run's folder or a file of weights, to `output`.

    What is written is loaded again, and compared with the original, before it gets its name.

    Args:
        format: a name of `FORMATS`; by default what the suffix of `output` says, else plain weights.
        which: of a run the `last` epoch (the default) or the `best` one.
        model, num_classes, image_size: where neither run, card nor the weights' names and shapes tell them.
        with_normalisation: the file takes pixels from 0 to 1 and normalises them itself.
        dataset: whose normalisation and images, where no card says it.
        data_dir: where its images are, to compare logits on them too; nothing is downloaded.
        command: what was typed, for the card.
    """
    name = format_of(format, output)
    form = FORMATS[name]
    if with_normalisation and name == "weights":
        raise UserError("a state dict holds no normalisation; take --format torch-export or onnx.")
    check_place(output)
    trained = _find(source, which, model)
    digest = digest_of(trained.path)  # now: a run that goes on writes other files
    if Path(output).resolve() in (Path(trained.path).resolve(), card_path(trained.path).resolve()):
        raise UserError(f"{output} would be written over what it is made of; name another file.")
    _refuse_files_of_the_run(source, output)
    classes, size = num_classes or trained.num_classes(), image_size or trained.image_size() or 32
    if classes is None:
        raise UserError(f"nothing tells how many classes {trained.path} has; say --num-classes N.")
    models.check_name(trained.name, size)
    network, found = trained.build(classes, size)
    network.eval()
    told = trained.card or {"file_says": found.meta}
    learned = told.get("dataset")
    dataset = dataset or learned
    prepared = _Prepared.of(dataset, (told.get("quirks") or {}).get("normalisation", "dataset"), with_normalisation)
    if learned not in (None, dataset):  # its card would say of the file what is not so
        raise UserError(f"--dataset {dataset} was given, but {trained.path} learned {learned}; leave the option out.")

    real = _real_pixels(dataset, data_dir, size, told.get("views") or "usual")
    content = form.write(prepared.around(network), torch.zeros(2, 3, size, size), trained.name)
    with tempfile.TemporaryDirectory(prefix=f".{Path(output).name}-", dir=Path(output).parent) as place:
        trial = Path(place) / Path(output).name
        trial.write_bytes(content)
        batches = [*_random_pixels(size), *real]
        with torch.no_grad():
            ours = [network(prepared.normalised(pixels)) for pixels in batches]
            try:
                again = form.load(trial, lambda: trained.untrained(classes, size))
                pairs = [(one, again(prepared.given(pixels))) for one, pixels in zip(ours, batches, strict=True)]
            except Exception as error:  # of whatever runs that form
                what = f"{output} was not written: as {name}, {trained.name} cannot be used ({first_line(error)})"
                raise RunFailed(f"{what}; take another --format.") from None
    difference, allowed = _difference(pairs), form.tolerance * max(float(one.abs().max()) for one, _ in pairs)
    if not difference <= allowed:
        raise RunFailed(
            f"{output} was not written: as {name}, {trained.name} gives logits that differ by {difference:.2g} "
            f"({allowed:.2g} allowed); take another --format."
        )
    card = {key: value for key, value in told.items() if key != "sha256"} | {
        "model": trained.name,
        "num_classes": classes,
        "dataset": dataset,
        "format": name,
        "input": {"shape": ["batch", 3, size, size], "dtype": "float32"},
        "normalisation": prepared.told(),
        "export": {
            "from": trained.path,
            "from_sha256": digest,
            "check": {
                "random_images": sum(_RANDOM),
                "real_images": sum(map(len, real)),
                "largest_difference": difference,
                "allowed": allowed,
            },
            "versions": versions(*form.packages),
            "date": time.strftime("%Y-%m-%d"),
            "command": command,
        },
    }
    return Exported(output, trained, len(content), card, save_with_card(output, content, card))


@dataclass(frozen=True)
class _Prepared:
    """How bytes become what the original sees (`normalised`), and what the file is given."""

    mean: tuple[float, ...]
    std: tuple[float, ...]
    known: bool
    included: bool

    @classmethod
    def of(cls, dataset: str | None, word: str, included: bool) -> _Prepared:
        if dataset is not None:
            return cls(*normalisation(dataset, word), True, included)
        if included:
            raise UserError("no card tells which normalisation that is; name the data set that it learned (--dataset).")
        return cls((0.5,) * 3, (0.25,) * 3, False, False)  # random images are then where those of any data set are

    def around(self, network: nn.Module) -> nn.Module:
        return _Normalised(network, self.mean, self.std).eval() if self.included else network

    def normalised(self, pixels: Tensor) -> Tensor:
        return data.normalise(pixels, self.mean, self.std)

    def given(self, pixels: Tensor) -> Tensor:
        return pixels.float() / 255 if self.included else self.normalised(pixels)

    def told(self) -> dict[str, Any]:
        numbers = {"mean": list(self.mean), "std": list(self.std)} if self.known else {"mean": None, "std": None}
        return {"included": self.included} | numbers


class _Normalised(nn.Module):
    """A network behind the normalisation of its images, whose pixels are then from 0 to 1."""

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("mean", torch.tensor(mean).view(-1, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(-1, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        return self.network((images - self.mean) / self.std)


def _find(source: str, which: str | None, model: str | None) -> Trained:
    if not Path(source).is_dir():
        if which is not None:
            raise UserError(f"--which {which} chooses among the epochs of a run, but {source} is no folder of one.")
        return from_file(source, read_card(source) if Path(source).exists() else None, model)
    if model is not None:
        raise UserError(f"--model {model} is for files that do not tell; {source} is a folder, whose record does.")
    return from_run(source, which or "last")


def _refuse_files_of_the_run(source: str, output: str) -> None:
    """What is in a run's folder without a card is what the run goes on with."""
    place = Path(output).resolve()
    inside = Path(source).is_dir() and Path(source).resolve() in place.parents
    if inside and place.exists() and not card_path(output).exists():
        raise UserError(f"{output} is a file of the run {source}; name another one.")


def _random_pixels(size: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randint(256, (n, 3, size, size), dtype=torch.uint8, generator=generator) for n in _RANDOM]


def _real_pixels(dataset: str | None, data_dir: str, size: int, views: str) -> list[Tensor]:
    """A batch of images of the data set; none where it is not at hand."""
    try:
        if dataset == "folder":
            how: dict[str, Any] = {"views": views, "mean": (0.0,) * 3, "std": (1.0,) * 3, "num_workers": 0}
            loader, *_ = folder_to_evaluate(data_dir, "val", _REAL, image_size=size, **how)
            return [(next(iter(loader)).images * 255).round().byte()]
        images = data.load(dataset, data_dir, download=False).test.images[:_REAL] if dataset else torch.empty(0)
    except UserError:
        return []
    return [images] if images.shape[-1] == size else []


def _difference(pairs: list[tuple[Tensor, Tensor]]) -> float:
    """The largest; infinite where shapes or types differ, or a logit is no number."""
    if any(one.shape != other.shape or one.dtype != other.dtype for one, other in pairs):
        return float("inf")
    return max(float((one - other).abs().max().nan_to_num(float("inf"))) for one, other in pairs)


def _words(normalisation: dict[str, Any]) -> str:
    if normalisation["included"]:
        return "pixels from 0 to 1"
    if normalisation["mean"] is None:
        return "normalised as they were in training, which no card tells"
    mean, std = (", ".join(f"{number:g}" for number in normalisation[name]) for name in ("mean", "std"))
    return f"pixels from 0 to 1, less ({mean}), divided by ({std})"
