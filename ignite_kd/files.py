"""Writing files so that nothing is ever lost: beside, flushed, renamed."""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from pathlib import Path

from ignite_kd.errors import RunFailed, UserError

__all__ = ["atomic_write", "check_writable", "digest_of", "write_while_training"]


def atomic_write(path: str | Path, content: bytes | str) -> None:
    """Replace `path` by `content` at once: a reader, or a crash, sees the old file or the new one, never a part."""
    path = Path(os.path.realpath(path))  # a link stays one: what it points at is replaced
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, beside = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            # a path on the command line may hold bytes that are no UTF-8; JSON reads them back from their escapes
            file.write(content.encode(errors="backslashreplace") if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(beside, 0o666 & ~_umask())  # mkstemp's 0600 would hide weights from colleagues
        os.replace(beside, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(beside)
        raise
    _flush_folder(path.parent)


def write_while_training(path: Path, content: bytes | str, kept: str) -> None:
    """`atomic_write`, where a full disk ends the run in one line; `kept` says what is there all the same."""
    try:
        atomic_write(path, content)
    except OSError as error:
        raise RunFailed(f"{path} could not be written: {error.strerror}; {kept}.") from None


def check_writable(path: str | Path) -> None:
    """Refuse, before hours of training, a file that could not be written in the end."""
    path = Path(path)
    try:
        if path.is_dir():
            raise UserError(f"cannot write {path}: it is a folder; name a file.")
        if path.exists() and not path.is_file():
            raise UserError(f"cannot write {path}: it is a device; name a file.")
        path.parent.mkdir(parents=True, exist_ok=True)
        # as long as the longest name that will be made of it
        with tempfile.NamedTemporaryFile(prefix=f".{path.name}", suffix=".previous.json.part", dir=path.parent):
            pass
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}; choose another place.") from None


def digest_of(path: str | Path) -> str:
    """The sha256 of a file's content."""
    try:
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}; check the path, or train that network first.") from None


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _flush_folder(folder: Path) -> None:
    """Make the rename itself last; not every file system lets a folder be opened."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
