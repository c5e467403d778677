"""The folder of a run: which one, whether it may be gone on with, and who works in it."""

from __future__ import annotations

import contextlib
import itertools
from pathlib import Path
from typing import IO, Any

from ignite_kd.errors import UserError
from ignite_kd.files import digest_of
from ignite_kd.handlers.record import RunRecord
from ignite_kd.plan import Plan
from ignite_kd.recipes.base import Recipe

__all__ = ["changes", "choose", "differences", "fresh", "identity_of", "leave", "lock", "make", "refuse_changes"]


def choose(plan: Plan) -> tuple[Path, bool]:
    """The folder for a plan, and whether a run stands in it that is to be resumed."""
    if plan.output_dir is not None:
        folder = Path(plan.output_dir)
        there = (folder / "run.json").exists()
        left = [*folder.glob("checkpoints/step-*.pt"), *folder.glob("first-stage-*/checkpoints/step-*.pt")]
        if left and not there:
            raise UserError(f"{folder} holds checkpoints but no run.json; restore it, or choose another --output-dir.")
        if there and plan.resume == "never":
            raise UserError(
                f"{folder} holds a run already; add --resume auto to go on with it, or choose another folder."
            )
        make(folder)
        return folder, there
    folder, last = fresh(Path("runs") / plan.title())
    if plan.resume == "auto" and last is not None:
        return last, True
    make(folder)
    return folder, False


def fresh(base: Path) -> tuple[Path, Path | None]:
    """The first of `base`, `base-2`, … in which no run stands, and the one before it."""
    last = None
    for folder in itertools.chain([base], (base.with_name(f"{base.name}-{i}") for i in itertools.count(2))):
        if not (folder / "run.json").exists():
            break
        last = folder
    return folder, last


def identity_of(plan: Plan) -> dict[str, Any]:
    """What decides the result of a run: the plan's own values, and the content of the files it starts from."""
    started_from = {
        "teacher_sha256": plan.teacher_path,
        "student_sha256": plan.student_path,
        "trunk_sha256": plan.trunk_path,
    }
    return plan.identity() | {key: path and digest_of(path) for key, path in started_from.items()}


def refuse_changes(folder: Path, identity: dict[str, Any]) -> dict[str, Any]:
    """The record of the run in `folder`; an error where the arguments would not lead to its result."""
    record = RunRecord(folder).load()
    if not _can_be_gone_on_with(record):
        raise UserError(f"{folder / 'run.json'} is no run's record; choose another --output-dir.")
    changed = changes(record["identity"], identity)
    if changed:
        raise UserError(f"{folder} cannot be resumed with other arguments: {'; '.join(changed)}.")
    return record


def _can_be_gone_on_with(record: dict[str, Any]) -> bool:
    """Whether what a resumed training takes from the record is of the right kind, where it is there."""
    identity, data, processes = record.get("identity"), record.get("data", {}), record.get("processes", [1])
    earlier, classmates = record.get("earlier", []), record.get("classmates", [])
    if not (isinstance(identity, dict) and isinstance(data, dict) and isinstance(processes, list) and processes):
        return False
    if not (isinstance(earlier, list) and isinstance(classmates, list) and all(isinstance(c, str) for c in classmates)):
        return False
    split = data.get("split", {})
    return (
        isinstance(identity.get("recipe", {}), dict)
        and isinstance(split, dict)
        and isinstance(split.get("seed"), int | None)
        and isinstance(record.get("seconds", 0), int | float)
    )


def changes(before: dict[str, Any], identity: dict[str, Any]) -> list[str]:
    """What of an identity is not as it was. What an older version did not record yet was as it is by default."""
    usual = Plan(student="", recipe=Recipe(name="", source="")).identity()
    recipe = usual["recipe"] | before.get("recipe", {})
    recipe.pop("source", None)  # words, which older versions recorded here
    return differences(usual | before | {"recipe": recipe}, identity)


def differences(before: dict[str, Any], now: dict[str, Any], within: str = "") -> list[str]:
    """Where two identities differ, in words."""
    found = []
    for name in sorted({*before, *now}):
        one, other = before.get(name), now.get(name)
        if isinstance(one, dict) and isinstance(other, dict):
            found += differences(one, other, f"{name}.")
        elif one != other:
            found.append(f"{within}{name} was {one!r} and is {other!r}")
    return found


def lock(folder: Path, busy: str = "is training in {}; wait for it or choose another --output-dir.") -> IO[str]:
    """Keep other processes out of the folder until this one ends, however it ends; `busy`: what another does there."""
    handle = open(folder / ".lock", "w")  # noqa: SIM115 (open as long as the process lives)
    with contextlib.suppress(ImportError):
        import fcntl

        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(f"another process {busy.format(folder)}") from None
        except OSError:  # a file system that has no locks
            pass
    return handle


def make(folder: Path) -> None:
    """Create it, or say in a line why that cannot be."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot create {folder}: {error.strerror}; choose another --output-dir.") from None


def leave(folder: Path, handle: IO[str]) -> None:
    """Let others into the folder; one in which nothing came about goes away again."""
    handle.close()
    if [path.name for path in folder.iterdir()] == [".lock"]:
        with contextlib.suppress(OSError):
            (folder / ".lock").unlink()
            folder.rmdir()
