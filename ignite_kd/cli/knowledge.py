"""What the commands that explain share: stopping in good order, and telling what was found."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

import click

from ignite_kd.concepts import report
from ignite_kd.concepts.desk import StoppedError
from ignite_kd.concepts.explanation import Explanation
from ignite_kd.concepts.tables import markdown, to_json
from ignite_kd.files import atomic_write, check_writable
from ignite_kd.handlers.stopping import Stopping

__all__ = ["stoppable", "tell", "writable"]


def writable(output_dir: str | None) -> Path | None:
    """The folder, refused now where nothing could be written into it."""
    if output_dir is None:
        return None
    check_writable(Path(output_dir) / "explanation.json")
    return Path(output_dir)


@contextlib.contextmanager
def stoppable(time_limit: float | None) -> Iterator[Stopping]:
    """A block that a signal or the time limit ends between two maps; `status` is then that of the process."""
    with Stopping(time_limit) as stopping:
        try:
            yield stopping
        except StoppedError:
            click.echo(f"stopped by {stopping.reason}; what was computed is kept, the same command goes on", err=True)
        else:
            stopping.status = 0  # it came to its end before the signal was looked at


def tell(found: Explanation, folder: Path | None, as_json: bool = False) -> None:
    """Print the tables; write them, the numbers and the report into the folder."""
    told = json.dumps(to_json(found), indent=2, ensure_ascii=False)
    click.echo(told if as_json else markdown(found, whole=False), nl=as_json)
    if folder is None:
        return
    atomic_write(folder / "explanation.json", told + "\n")
    atomic_write(folder / "table.md", markdown(found))
    report.write(found, folder)  # last: a picture that fails costs no number
    click.echo(f"written  {folder}", err=as_json)
