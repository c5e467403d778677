"""The image files of a tree, a million of them in a few tensors."""

from __future__ import annotations

import hashlib
import os
from array import array
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ignite_kd.errors import UserError

__all__ = ["FileList", "unreadable"]

_CHUNK = 10_000


class FileList(Sequence[tuple[str, int]]):
    """(path, label) of files below `folder`, in the order of torchvision's `ImageFolder`.

    Held as bytes: of a list of Python strings each worker would get its own copy, page by page, as it counts
    references. Costs about 60 bytes a file, once for all processes.
    """

    def __init__(self, folder: Path, names: Tensor, places: Tensor, labels: Tensor, sizes: Tensor) -> None:
        self.folder, self.labels = folder, labels
        self._names, self._places, self._sizes = names, places, sizes  # places: where each name begins and ends

    @classmethod
    def find(cls, folder: Path, labels: Mapping[str, int], extensions: tuple[str, ...]) -> FileList:
        """All files that end so below `folder`/<class>, without opening any."""
        names, places, found, sizes = bytearray(), array("q"), array("q"), array("q")
        for name in sorted(labels):
            top = str(folder / name)
            for path, size in _below(top, extensions):
                places.append(len(names))
                names += os.fsencode(path[len(top) - len(name) :].replace(os.sep, "/"))
                places.append(len(names))
                found.append(labels[name])
                sizes.append(size)
        return cls(folder, _tensor(names, torch.uint8), _tensor(places).view(-1, 2), _tensor(found), _tensor(sizes))

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: Any) -> Any:
        begin, end = self._places[index].tolist()
        name = os.fsdecode(self._names[begin:end].numpy().tobytes())
        return os.path.join(self.folder, name), int(self.labels[index])  # pathlib would keep the parts of every name

    def subset(self, indices: Tensor) -> FileList:
        """The files at `indices`, in that order; the names are shared."""
        return FileList(self.folder, self._names, self._places[indices], self.labels[indices], self._sizes[indices])

    def add_to(self, sha: hashlib._Hash) -> None:
        """Put names, labels and sizes of all files into a digest: reading what is in them could take an hour."""
        tree, names = os.fsencode(self.folder.name), self._names.numpy()
        for (begin, end), label, size in self._records():
            sha.update(b"%b/%b %d %d\n" % (tree, names[begin:end].tobytes(), label, size))

    def _records(self) -> Iterator[tuple[list[int], int, int]]:
        """Name's place, label and size of each; never a million Python integers at once."""
        for part in zip(*(t.split(_CHUNK) for t in (self._places, self.labels, self._sizes)), strict=True):
            yield from zip(*(t.tolist() for t in part), strict=True)


def unreadable(path: str, error: Exception) -> UserError:
    """The one line for a file of a tree."""
    reason = getattr(error, "strerror", None) or "it is damaged or no image"
    return UserError(f"{path} cannot be read ({reason}); repair it or take it away.")


def _below(top: str, extensions: tuple[str, ...]) -> Iterator[tuple[str, int]]:
    """(path, size): folders in the order of their paths, the files of each by name. Every folder is read once."""
    files: dict[str, list[os.DirEntry[str]]] = {}
    waiting, at = [top], top
    try:
        while waiting:
            at = waiting.pop()
            with os.scandir(at) as entries:
                found = sorted(entries, key=lambda entry: entry.name)
            files[at] = [e for e in found if e.name.lower().endswith(extensions) and not e.is_dir()]
            waiting += [e.path for e in found if e.is_dir()]
        for folder in sorted(files):
            for entry in files[folder]:
                at = entry.path
                yield at, entry.stat().st_size
    except OSError as error:
        raise unreadable(at, error) from None


def _tensor(values: bytearray | array[int], dtype: torch.dtype = torch.int64) -> Tensor:
    return torch.frombuffer(values, dtype=dtype) if values else torch.empty(0, dtype=dtype)
