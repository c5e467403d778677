"""CIFAR-10 and CIFAR-100 (Krizhevsky, 2009), fetched by torchvision and opened only after their md5 is right."""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import sys
import tempfile
from http.client import HTTPException
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ignite_kd.data.dataset import Dataset, Images
from ignite_kd.errors import UserError

__all__ = ["CIFAR10_NORMALISATION", "CIFAR100_NORMALISATION", "cifar10", "cifar100"]

CIFAR10_NORMALISATION = (0.4914, 0.4822, 0.4465), (0.247, 0.243, 0.261)  # the released VID code
CIFAR100_NORMALISATION = (0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761)  # RepDistiller, of the CRD benchmark


def cifar10(data_dir: str | Path = "./data/", download: bool = True) -> Dataset:
    """50 000 + 10 000 images of ten classes."""
    from torchvision.datasets import CIFAR10

    return _load("cifar10", CIFAR10, Path(data_dir), download, *CIFAR10_NORMALISATION)


def cifar100(data_dir: str | Path = "./data/", download: bool = True) -> Dataset:
    """50 000 + 10 000 images of a hundred classes."""
    from torchvision.datasets import CIFAR100

    return _load("cifar100", CIFAR100, Path(data_dir), download, *CIFAR100_NORMALISATION)


def _load(
    name: str,
    source: Any,
    data_dir: Path,
    download: bool,
    mean: tuple[float, float, float],
    std: tuple[float, float, float],
) -> Dataset:
    """`source` is torchvision's class: it knows the names, the md5 sums and how to download."""
    folder = data_dir / source.base_folder
    if not folder.exists():
        _fetch(name, source, data_dir, download)
    train = _images([_opened(folder / file, md5) for file, md5 in source.train_list])
    test = _images([_opened(folder / file, md5) for file, md5 in source.test_list])
    meta = _opened(folder / source.meta["filename"], source.meta["md5"])
    return Dataset(name, train, test, tuple(meta[source.meta["key"]]), mean, std)


def _opened(path: Path, md5: str) -> dict[str, Any]:
    """The contents of a pickle whose bytes, the very ones that are opened, have this md5 sum."""
    advice = f"remove {path.parent} to have it downloaded again, or put the right files there."
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise UserError(f"{path} is missing, though its folder is there; {advice}") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}); {advice}") from None
    if hashlib.md5(content, usedforsecurity=False).hexdigest() != md5:
        raise UserError(f"{path} is damaged: its md5 sum is not {md5}; {advice}")
    return pickle.load(io.BytesIO(content), encoding="latin1")


def _images(batches: list[dict[str, Any]]) -> Images:
    pixels = np.concatenate([batch["data"] for batch in batches]).reshape(-1, 3, 32, 32)
    labels = [label for batch in batches for label in batch["labels" if "labels" in batch else "fine_labels"]]
    return Images(torch.from_numpy(pixels), torch.tensor(labels))


def _fetch(name: str, source: Any, data_dir: Path, download: bool) -> None:
    """Download beside and rename, so that a download cut short or done twice at once never leaves half a data set."""
    from torchvision.datasets.utils import extract_archive

    archive = data_dir / source.filename
    if not (download or archive.exists()):
        raise UserError(
            f"{name} is not in {data_dir} ({source.base_folder} is looked for); allow the download or put it there."
        )
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{name}-", dir=data_dir) as beside:
            if archive.exists():
                _check_archive(archive, source.tgz_md5)
                extract_archive(str(archive), beside)
            else:
                print(f"downloading {name} from {source.url} to {data_dir}", file=sys.stderr)
                source(beside, download=True)
            try:
                os.rename(Path(beside) / source.base_folder, data_dir / source.base_folder)
            except OSError:
                if not (data_dir / source.base_folder).exists():  # where it is, another process was faster
                    raise
    except PermissionError as error:
        raise UserError(
            f"{data_dir} cannot be written ({error.strerror}); choose another folder (--data-dir)."
        ) from None
    except (OSError, HTTPException, RuntimeError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(
            f"{name} could not be downloaded to {data_dir} ({reason}); try again, or put {source.url} there."
        ) from None


def _check_archive(archive: Path, md5: str) -> None:
    with archive.open("rb") as file:
        found = hashlib.md5(usedforsecurity=False)
        while block := file.read(1 << 20):
            found.update(block)
    if found.hexdigest() != md5:
        raise UserError(f"{archive} is damaged: its md5 sum is not {md5}; remove it to have it downloaded again.")
