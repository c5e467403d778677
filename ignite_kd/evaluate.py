"""What a file of weights is, and how good: any layout, any data set; its card is believed as far as it is confirmed."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import torch

from ignite_kd import data, models, recipes
from ignite_kd.card_check import Check, allowed
from ignite_kd.cards import accuracy_of, any_card, epochs_of, spent_on
from ignite_kd.data.folder import folder_to_evaluate
from ignite_kd.data.split import Split, SplitSpec, split
from ignite_kd.devices import name_of, native_bf16, pick_device, prepare_precision
from ignite_kd.errors import UserError, unknown
from ignite_kd.files import digest_of
from ignite_kd.handlers import evaluate
from ignite_kd.loaders import normalisation
from ignite_kd.recognise import Known, is_network
from ignite_kd.trained import Trained, from_file
from ignite_kd.weights import Loaded

__all__ = ["Report", "evaluate_file"]

_BATCH = 256


@dataclass(frozen=True)
class Report:
    """What is known of a file after it was tried."""

    file: str
    model: str
    named_by: str
    layout: str
    file_says: dict[str, Any]
    card: dict[str, Any] | None
    classes: int
    parameters: int
    macs: int
    image_size: int
    dataset: str
    digest: str
    split: str
    images: int
    results: dict[str, float]
    precision: str
    check: Check
    notes: tuple[str, ...]

    def lines(self) -> list[str]:
        """For people."""
        says = [self.layout, *(f"{name} {_short(value)}" for name, value in self.file_says.items())]
        numbers = f"{self.parameters:,} parameters, {self.macs:,} MACs at {self.image_size}×{self.image_size}"
        result = self.results
        lines = [f"file     {self.file}: {', '.join(says)}"]
        if self.card is not None:
            lines.append(f"card     {_told(self.card)}; its checksum is right")
        return [
            *lines,
            f"model    {self.model}, {self.classes} classes (by {self.named_by}); {numbers}",
            f"data     {self.dataset}: {self.images} images, {self.split} ({self.digest})",
            f"result   top-1 {result['accuracy']:.2%}, top-5 {result['top5']:.2%}, loss {result['loss']:.4f}",
            *(f"note     {note}" for note in self.notes),
            f"check    {self.check.line()}",
        ]


def evaluate_file(
    path: str,
    *,
    dataset: str | None = None,
    data_dir: str = "./data/",
    model: str | None = None,
    part: str = "test",
    image_size: int | None = None,
    num_workers: int = 4,
    device: str = "auto",
    precision: str | None = None,
) -> Report:
    """Evaluate the weights in `path`, and check what their card tells.

    Args:
        dataset: any of `data.names()`; by default the card's, else cifar100 for 100 classes and cifar10 for others.
        model: the network's name where it should not be found out.
        part: `test`; `validation`, the images that the card says were kept apart; `train`, those it learned from.
        image_size: of `folder`'s images; the card's by default, else 32.
        precision: the card's by default where the device has it, else fp32.
    """
    if dataset is not None and dataset not in data.names():
        raise unknown("data set", dataset, data.names())
    told = any_card(path)
    check = Check(told is not None)
    if told is not None:
        check.field("sha256", told.get("sha256") or "missing", digest_of(path))
    card = None if check.differences else told  # that of another file is not believed
    trained = _believed(from_file(path, card, model))
    known = trained.known
    where = pick_device(device)
    precision = precision or _precision(card, where)
    number_format = prepare_precision(precision, where)
    if dataset is None:
        dataset = (card or {}).get("dataset") or _guess(path, known)
    size = image_size or trained.image_size() or 32
    images = _images(str(dataset), data_dir, part, card, size, num_workers, where)
    _refuse_other_classes(path, known, card, images)

    models.check_name(trained.name, images.image_size)
    network, found = trained.build(len(images.classes), images.image_size)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # as in training, to the bit
    results = evaluate(network, images.loader, where, number_format)
    if card is not None and _same_images(check, card, trained, images):
        check.accuracy(card, part, results["accuracy"], images.number, precision, name_of(where))
    return Report(
        file=path,
        model=trained.name,
        named_by=trained.named_by,
        layout=found.layout,
        file_says=found.meta,
        card=card,
        classes=len(images.classes),
        parameters=models.parameters(network),
        macs=models.macs(network, images.image_size),
        image_size=images.image_size,
        dataset=str(dataset),
        digest=images.digest,
        split=images.words,
        images=images.number,
        results=results,
        precision=precision,
        check=check,
        notes=(
            *images.notes,
            *(_disagreements(found, part, results["accuracy"], images.number) if card is None else ()),
            *(() if math.isfinite(results["loss"]) else ("its logits are no numbers for some images",)),
        ),
    )


def _guess(path: str, known: Known | None) -> str:
    """The data set that has so many classes; nothing is downloaded for any other number."""
    classes = known.num_classes if known else None
    found = {None: "cifar10", 10: "cifar10", 100: "cifar100"}.get(classes)
    if found is None:
        raise UserError(f"{path} has {classes} classes, and nothing says of which data; name it with --dataset.")
    return found


def _believed(trained: Trained) -> Trained:
    """Under the name that its shapes tell where its card names a network of others."""
    known, card = trained.known, trained.card
    if known is None or card is None or trained.name != card.get("model") or is_network(known, trained.name):
        return trained
    return replace(trained, name=known.name, named_by="its names and shapes")


def _precision(card: dict[str, Any] | None, device: torch.device) -> str:
    told = (card or {}).get("precision")
    has = {"bf16": native_bf16(device), "tf32": device.type == "cuda"}
    return told if told and has.get(told) else "fp32"


def _same_images(check: Check, card: dict[str, Any], trained: Trained, images: _Images) -> bool:
    """Compare all but the accuracy; whether that can be, because the card tells of these very images."""
    known, told = trained.known, card.get("model")
    check.field("model", told, trained.name, known is None or told is None or is_network(known, told))
    check.field("classes", card.get("num_classes"), trained.num_classes() or len(images.classes))
    if card.get("dataset") not in (None, images.dataset):
        check.untold.append(f"how good it is on {images.dataset}")
        return False
    learned = card.get("data") or {}
    check.field("data", learned.get("digest"), images.digest)
    if learned.get("digest") != images.digest:
        return False
    if images.dataset != "folder":
        check.field("split", (learned.get("split") or {}).get("digest"), images.rebuilt)
    return images.by_card


@dataclass(frozen=True)
class _Images:
    loader: Iterable[Any]
    number: int
    classes: tuple[str, ...]
    image_size: int
    dataset: str
    digest: str
    words: str
    notes: tuple[str, ...] = ()
    rebuilt: str | None = None  # digest of the split that the card's numbers give
    by_card: bool = True  # those that a card's accuracy is of


def _images(
    name: str, data_dir: str, part: str, card: dict[str, Any] | None, size: int, num_workers: int, device: torch.device
) -> _Images:
    """The images to evaluate on, normalised as they were when the network learned."""
    if name == "folder":
        tree = {"validation": "val"}.get(part, part)
        files, classes, digest = folder_to_evaluate(
            data_dir,
            tree,
            _BATCH,
            image_size=size,
            num_workers=num_workers,
            views=(card or {}).get("views") or "usual",
            device=device,
        )
        if len(classes) == 1:
            raise UserError(f"{data_dir}/train has but one class, {classes[0]}: nothing can be told apart there.")
        return _Images(files, len(files.samples), classes, size, name, digest, f"all of {tree}/")

    dataset = data.load(name, data_dir)
    digest, notes, indices = dataset.digest(), [], None
    told = _split_of(card, digest)
    rebuilt = None if told is None else Split.rebuild(told, dataset.train.labels).digest
    if part == "test":
        images, words = dataset.test, "the test set"
    elif told is not None:
        parts = Split.from_json(told, dataset.train.labels)
        images, indices = dataset.train, parts.train if part == "train" else parts.validation
        words = "those that it learned from" if part == "train" else "those kept apart for validation"
        if not len(indices):
            raise UserError(f"by its card all images of {name} were learned from, none validates; take --split test.")
    elif part == "train":
        images, words = dataset.train, "the whole training set"
    else:
        images, words = dataset.train, "the usual validation part of the training set"
        indices = split(images.labels, SplitSpec(min(10_000, len(images) // 5))).validation
        notes.append("no card says which images it was not trained on; where it has seen these, they flatter")
    word = ((card or {}).get("quirks") or {}).get("normalisation", "dataset")
    mean, std = normalisation(name, word)
    if word != "dataset":
        notes.append(f"images are normalised as its recipe does ({word})")
    loader = data.Stream(
        images,
        _BATCH,
        mean=mean,
        std=std,
        indices=indices,
        augmentation=None,
        shuffle=False,
        device=device,
        memory_format=torch.channels_last,
    )
    number = len(images if indices is None else indices)
    by_card = part == "test" or told is not None
    edge = images.images.shape[-1]
    return _Images(
        loader,
        number,
        dataset.classes,
        edge,
        name,
        digest,
        words,
        tuple(notes),
        rebuilt,
        by_card,
    )


def _split_of(card: dict[str, Any] | None, digest: str) -> dict[str, Any] | None:
    told = card.get("data") if card else None
    if not isinstance(told, dict) or told.get("digest") != digest or not isinstance(told.get("split"), dict):
        return None
    return told["split"]


def _refuse_other_classes(path: str, known: Known | None, card: dict[str, Any] | None, images: _Images) -> None:
    if known is None or known.num_classes == len(images.classes):
        return
    learned = (card or {}).get("dataset")
    advice = f"its card says --dataset {learned}" if learned else "name the data set that it learned (--dataset)"
    raise UserError(f"{path} is {known}, but {images.dataset} has {len(images.classes)} classes; {advice}.")


def _disagreements(found: Loaded, part: str, accuracy: float, images: int) -> Iterable[str]:
    """What the file claims itself and was not confirmed."""
    claim = found.meta.get("accuracy")  # RepDistiller's, in per cent, of the very epoch
    if part == "test" and isinstance(claim, (int, float)) and abs(claim / 100 - accuracy) > allowed(images, alike=True):
        yield f"the file says accuracy {claim:.2f}, but {100 * accuracy:.2f} was measured"


def _told(card: dict[str, Any]) -> str:
    """What a card says, in a line."""
    parts = [str(card.get("model", "some network"))]
    said = dict(card)
    if card.get("recipe") is not None:
        said["recipe"] = recipes.told(str(card["recipe"]), card.get("recipe_changes") or {})
    epoch, epochs = card.get("epoch"), card.get("epochs")
    if epoch is not None and epoch != epochs:
        said["epochs"] = f"{epoch} of {epochs}"
    before = spent_on(card)[0] - (epochs_of(card) or 0)
    if before:
        said["epochs"] = f"{said.get('epochs', '?')} (after {before} of the weights that it started from)"
    for name, words in (("dataset", "on {}"), ("recipe", "recipe {}"), ("epochs", "epochs {}"), ("seed", "seed {}")):
        if said.get(name) is not None:
            parts.append(words.format(said[name]))
    if card.get("teacher"):
        parts.append(f"taught by {card['teacher']} ({' + '.join(map(str, card.get('loss') or ()))})")
    for part in ("validation", "test"):
        accuracy = accuracy_of(card, part)
        if accuracy is not None:
            parts.append(f"{part} accuracy {accuracy:.2%}")
    return ", ".join(parts)


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
