"""Options that several commands share, grouped in their help."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

__all__ = [
    "SEED",
    "Decorator",
    "Epochs",
    "GroupedCommand",
    "all_of",
    "check_option",
    "command_line",
    "compile_option",
    "data_options",
    "device_option",
    "folder_options",
    "given",
    "machine_options",
    "option",
    "precision_option",
    "run_options",
    "seed_option",
    "students_options",
    "time_limit_option",
    "truth",
    "unused",
]

_DEVICE = "A GPU's number, cuda:1, cpu, mps; auto takes a GPU if there is one."

SEED = click.IntRange(0, 2**32 - 1)

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


class _GroupedOption(click.Option):
    def __init__(self, *names: Any, group: str = "Options", **settings: Any) -> None:
        super().__init__(*names, **settings)
        self.group = group


class GroupedCommand(click.Command):
    """Help under one heading a group of options; `--path_t` and `--path-t` are one option."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.context_settings.setdefault("token_normalize_func", lambda token: token.replace("_", "-"))

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        groups: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None:
                groups.setdefault(getattr(parameter, "group", "Help"), []).append(record)
        for group, records in groups.items():
            with formatter.section(group):
                formatter.write_dl(records)


class _Duration(click.ParamType):
    """Seconds from 90, 90s, 15m or 2.5h."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, float):
            return value
        scale = {"s": 1, "m": 60, "h": 3600}.get(value[-1:])
        try:
            seconds = float(value[:-1]) * scale if scale else float(value)
        except ValueError:
            self.fail(f"'{value}' is no duration; write 90, 90s, 15m or 2.5h.", param, ctx)
        if not 0 < seconds < float("inf"):
            self.fail(f"'{value}' should be a positive time.", param, ctx)
        return seconds


class Epochs(click.ParamType):
    """0,2,5,10 or the words published and none."""

    name = "epochs"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        if isinstance(value, tuple) or value == "none":
            return value if isinstance(value, tuple) else ()
        if value == "published":
            from ignite_kd.recipes.base import PUBLISHED_HISTORY

            return PUBLISHED_HISTORY
        words = [word.strip() for word in value.split(",")]
        if not all(word.isdecimal() for word in words):
            self.fail(f"'{value}' is no list of epochs; write 0,2,5,10, published or none.", param, ctx)
        return tuple(sorted(set(map(int, words))))


def option(*names: str, group: str, **settings: Any) -> Decorator:
    """`click.option` in a group of the help, with its default shown."""
    return click.option(*names, cls=_GroupedOption, group=group, **{"show_default": True, **settings})


def all_of(*decorators: Decorator) -> Decorator:
    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        for decorator in reversed(decorators):
            function = decorator(function)
        return function

    return decorate


def data_options(dataset: str = "cifar10") -> Decorator:
    group = "Data"
    return all_of(
        option("--dataset", group=group, default=dataset, help="cifar10, cifar100, folder or shapes."),
        # an option of the original may stand without a value, as `--data-dir $DATA_DIR` does where that is not set
        option("--data-dir", group=group, default="./data/", is_flag=False, flag_value="./data/", metavar="DIR",
               help="Where the data is, or is downloaded to."),
        option("--num-workers", group=group, type=click.IntRange(0), default=4, is_flag=False, flag_value=4,
               help="Processes that read images; only 'folder' reads any, other data stays in memory."),
        option("--samples-per-class", group=group, type=click.IntRange(1), metavar="M",
               help="Learn from M images a class, as in small-data tables."),
        option("--image-size", group=group, type=click.IntRange(8), help="Edge of 'folder's images.  [default: 32]"),
    )  # fmt: skip


def initial_option(group: str) -> Decorator:
    return option("--initial-state-dict-path", group=group, metavar="FILE",
                  help="Trained weights to start from.  [default: fresh ones]")  # fmt: skip


def run_options(state_dict_path: str) -> Decorator:
    group = "Run"
    return all_of(
        option("--max-epochs", group=group, type=click.IntRange(1),
               help="Epochs to train.  [default: the recipe's, 200]"),
        option("--recipe", group=group, default="vid",
               help="vid (the paper), vid-released-code, vid-short or vid-small-data; fields change: vid,decay=0.1."),
        seed_option(),
        option("--state-dict-path", group=group, default=state_dict_path, metavar="FILE",
               help="Where the trained weights go."),
        folder_options(),
        students_options(),
    )  # fmt: skip


def seed_option(default: int | None = 0, otherwise: str = "") -> Decorator:
    group = "Run"
    return all_of(
        option("--seed", group=group, type=SEED, default=default,
               help=f"Of weights, order and augmentation.{otherwise}"),
        option("--order-seed", group=group, type=SEED,
               help="Of order and augmentation alone.  [default: the seed, of the first student]"),
    )  # fmt: skip


def students_options() -> Decorator:
    group = "Students"
    return all_of(
        option("--students", group=group, type=click.IntRange(1), default=1, metavar="N",
               help="Train N with consecutive seeds on the same batches; a teacher looks once at each."),
        option("--student-run", group=group, multiple=True, metavar='"OPTIONS"',
               help="A student that differs in these options, e.g. \"--loss kd:1 --seed 3\"; repeatable."),
    )  # fmt: skip


def folder_options(default: str = "one under ./runs/") -> Decorator:
    group = "Run"
    return all_of(
        option("--output-dir", group=group, metavar="DIR",
               help=f"The run's folder: record, metrics, checkpoints, plots.  [default: {default}]"),
        option("--resume", group=group, type=click.Choice(["auto", "never"]), default="never", is_flag=False,
               flag_value="auto", help="auto: go on with an unfinished run of the same arguments, if there is one."),
        time_limit_option(group),
        option("--keep-epochs", group=group, type=Epochs(), metavar="0,2,5,…",
               help="Keep the weights after these epochs (0: before the first step) and the last one in history/; or "
               "`published`: 0, 2, 5, 10, …, 190, 240, …, 400.  [default: the recipe's, none]"),
        option("--tracker", group=group, metavar="NAME", help="Also write curves for tensorboard."),
    )  # fmt: skip


def truth(name: str, group: str, default: bool, help: str) -> Decorator:
    """An option that takes true or false, and alone means true."""
    return option(name, group=group, type=bool, default=default, is_flag=False, flag_value="true", metavar="BOOL",
                  help=help)  # fmt: skip


def unused(*names: str, group: str = "Run", **settings: Any) -> Decorator:
    """An option of an original script that changes nothing here."""
    return option(*names, group=group, show_default=False, help="Accepted, without effect.", **settings)


def time_limit_option(group: str) -> Decorator:
    return option("--time-limit", group=group, type=_Duration(), metavar="TIME",
                  help="Stop in good order after 90s, 15m or 2.5h (exit status 75).")  # fmt: skip


def device_option(group: str) -> Decorator:
    return option("--device", group=group, default="auto", help=_DEVICE)


def check_option(group: str) -> Decorator:
    words = "Images on which a linear engine is held against the sampled one, at its cost; 0: none."
    return option("--check", group=group, type=click.IntRange(0), default=4, metavar="N", help=words)


def precision_option(group: str, words: str) -> Decorator:
    return option("--precision", group=group, type=click.Choice(["fp32", "bf16", "tf32"]), default="fp32", help=words)


def compile_option(group: str, words: str) -> Decorator:
    return option("--compile", "compile_", group=group, type=click.Choice(["auto", "on", "off", "graphs"]),
                  default="auto", is_flag=False, flag_value="on", help=words)  # fmt: skip


def machine_options(restarts: bool = True) -> Decorator:
    """Where and how fast; `restarts`: whether processes that were killed can be started again."""
    group = "Machine"
    often = option("--max-restarts", group=group, type=click.IntRange(0), default=0,
                   help="How often these are started again from the last checkpoint where one was killed.")  # fmt: skip
    return all_of(
        option("--device", group=group, default="auto", is_flag=False, flag_value="auto",
               help=_DEVICE),
        precision_option(group, "Number format of the networks' arithmetic."),
        compile_option(group, "Compile networks and heads; auto: on a CPU, where that costs less than it saves; "
                       "graphs: on a GPU, with each step recorded as CUDA graphs."),
        option("--nproc-per-node", group=group, type=click.IntRange(1), default=1,
               help="Processes that share each batch."),
        *([often] if restarts else []),
    )  # fmt: skip


def given(name: str) -> bool:
    """Whether the running command's parameter was typed, not left at its default."""
    source = click.get_current_context().get_parameter_source(name)
    return source is click.core.ParameterSource.COMMANDLINE


def command_line() -> str:
    """What was typed, for the run's record."""
    program = Path(sys.argv[0]).name
    return shlex.join(["ignite-kd" if program == "__main__.py" else program, *sys.argv[1:]])
