"""Commands, one a file. Nothing here imports torch: help answers at once."""

from __future__ import annotations

import importlib
import io
import sys
import warnings
from typing import NoReturn

import click

from ignite_kd import __version__
from ignite_kd.errors import RunFailed, UserError, out_of_memory

__all__ = ["commands", "run"]

_COMMANDS = {
    "quickstart": "See distillation help: a few minutes on a CPU, no download.",
    "train-without-transfer": "Train a network alone, e.g. a teacher.",
    "train-with-transfer": "Train a student with the knowledge of a teacher.",
    "train-teacher": "Train a network of the CIFAR-100 benchmark alone (flags of RepDistiller, ITRD).",
    "train-student": "Train a student of the benchmark by any method (flags of RepDistiller, ITRD).",
    "train": "Train a resnet or wideresnet alone (flags of the zoo).",
    "distill": "Train a student of the zoo: KD, FN, NST, AT, RKD, SP, OD.",
    "train-net": "Train a teacher or a baseline of the quantification study (flags of its script).",
    "distillation": "Train a student of the study: imitate a layer, then learn to classify.",
    "reproduce": "Fill cells of a published table again: ours beside the published number.",
    "evaluate": "Say what a file of weights is, and how good.",
    "export": "Write a trained network for use elsewhere: weights, torch.export, ONNX.",
    "compare": "Put runs side by side: accuracy, classes, agreement, stages, calibration.",
    "explain": "Say what runs learned: concepts on object and ground, learning speed, stability.",
    "train-sigma": "Compute what a layer discards of images (flags of the quantification study).",
    "find-knowledge": "Compare what train-sigma left: the study's three metrics.",
    "list": "Name the methods, models, data sets or recipes.",
    "bench": "Measure: `bench step` how fast a step is, `bench heads` what each method costs.",
    "verify-resume": "Kill a training at a random step, resume it, compare bits.",
}


class _Commands(click.Group):
    """A command's file is imported when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*_COMMANDS]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            from ignite_kd.errors import unknown

            raise unknown("command", cmd_name, _COMMANDS)
        return importlib.import_module(f"ignite_kd.cli.{cmd_name.replace('-', '_')}").command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([*_COMMANDS.items()])  # `list` is a command here


@click.group(cls=_Commands, invoke_without_command=True)
@click.version_option(__version__, message="%(version)s")
@click.pass_context
def commands(ctx: click.Context) -> None:
    """Knowledge distillation as pytorch-ignite engines."""
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


def run(command: click.Command, arguments: list[str] | None = None) -> NoReturn:
    """Call a command and exit: 0 done, 1 a run that failed, 2 wrong input, each with one line on standard error."""
    warnings.showwarning = lambda message, *_: click.echo(f"warning: {message}", err=True)  # type: ignore[assignment]
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a path may hold bytes that are no UTF-8
            stream.reconfigure(errors="backslashreplace")
    try:
        status = command.main(arguments, standalone_mode=False)
    except click.ClickException as error:
        _say(error.format_message())
        status = 2
    except UserError as error:
        _say(str(error))
        status = 2
    except RunFailed as error:
        _say(str(error))
        status = 1
    except OSError as error:  # a full disk, a folder that was taken away
        where = f" {error.filename}" if error.filename else ""
        _say(f"cannot go on:{where} {error.strerror or error}; what was saved before is kept.")
        status = 1
    except RuntimeError as error:
        line = out_of_memory(error)
        if line is None:
            raise
        _say(line)
        status = 1
    except (click.Abort, KeyboardInterrupt):
        status = 130
    sys.exit(status if isinstance(status, int) else 0)


def _say(message: str) -> None:
    click.echo(f"error: {' '.join(message.split())}", err=True)
