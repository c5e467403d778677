"""Commands called in this process, as a shell would see them."""

import contextlib
import io
import shlex
from pathlib import Path
from typing import NamedTuple

from ignite_kd.cli import commands, run

__all__ = ["Done", "call"]


class Done(NamedTuple):
    status: int
    out: str
    err: str


def call(words: str, *more: str | Path) -> Done:
    """`ignite-kd WORDS …`: exit status, standard output, standard error."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            run(commands, [*shlex.split(words), *map(str, more)])
        except SystemExit as end:
            status = int(end.code or 0)
    return Done(status, out.getvalue(), err.getvalue())
