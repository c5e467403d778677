"""Measurements."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from ignite_kd.cli.options import Decorator, GroupedCommand, compile_option, option, precision_option

if TYPE_CHECKING:
    from ignite_kd.bench.step import Report

__all__ = ["command"]


class _Counts(click.ParamType):
    """Whole numbers above zero, joined by commas."""

    name = "numbers"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        if isinstance(value, tuple):
            return value
        words = [word.strip() for word in value.split(",")]
        if not all(word.isdecimal() and int(word) for word in words) or len(set(words)) < len(words):
            self.fail(f"'{value}' should be different numbers above zero, such as 1,2,4.", param, ctx)
        return tuple(int(word) for word in words)


def _device_option(group: str) -> Decorator:
    return option(
        "--device", group=group, default="auto", help="A GPU's number, cuda:1, cpu; auto takes a GPU if there is one."
    )


_json_option = option("--json", "as_json", group="Measurement", is_flag=True, help="For machines.")


@click.group("bench", invoke_without_command=True)
@click.pass_context
def command(context: click.Context) -> int | None:
    """Measure, and print a table; `bench` alone is `bench step`."""
    return context.invoke(step) if context.invoked_subcommand is None else None


@command.command("step", cls=GroupedCommand)
@option("--student", group="Task", default="wrn_16_1", help="The student's model.")
@option("--teacher", group="Task", default="wrn_40_2", help="The teacher's model; its weights are random.")
@option(
    "--loss",
    group="Task",
    multiple=True,
    metavar="NAME:FACTOR[,option=value…]",
    help="A term, repeatable, as in train-with-transfer.  [default: ce:1, kd:1,temperature=2, vid:0.1]",
)
@option(
    "--dataset",
    group="Task",
    type=click.Choice(["cifar10", "cifar100", "shapes"]),
    default="cifar10",
    help="Random images of its shape where its files are not there.",
)
@option("--data-dir", group="Task", default="./data/", metavar="DIR", help="Where they would be.")
@option("--batch-size", group="Task", default=128, type=click.IntRange(2), help="Images.")
@precision_option("Task", "Of this package; the released loop stays as it is.")
@compile_option("Task", "Compile this package's networks and heads; auto: as a training of 200 epochs decides.")
@option(
    "--students",
    group="Measurement",
    type=_Counts(),
    default="1,2,4,8",
    metavar="N,N…",
    help="How many learn from one teacher's forward pass.",
)
@option("--workers", group="Measurement", default=2, type=click.IntRange(0), help="Of the released loop's DataLoader.")
@option("--rounds", group="Measurement", default=5, type=click.IntRange(1), help="In which all take turns.")
@option("--steps", group="Measurement", type=click.IntRange(1), help="Of each in a round.  [default: 3, on a GPU 100]")
@_device_option("Measurement")
@_json_option
def step(loss: tuple[str, ...], compile_: str, as_json: bool, **settings: Any) -> int:
    """A training step, beside one of the plain loop that the VID code was released with.

    They take turns in one process, as do one and several students of one teacher. Parts of the step stand beside what
    their arithmetic would take at the rate at which this machine multiplies matrices.
    """
    from ignite_kd.plan import Term
    from ignite_kd.terms import check_terms

    terms = [Term.read(word) for word in loss]
    if terms:
        if not any(term.method == "ce" for term in terms):
            terms.insert(0, Term("ce"))
        check_terms(terms)

    from ignite_kd.bench.step import bench_step  # torch is imported here: a typo above is answered at once

    report = bench_step(terms=terms, compile=compile_, **settings)
    click.echo(json.dumps(asdict(report), indent=2) if as_json else _page(report))
    return 0


@command.command("heads", cls=GroupedCommand)
@option("--teacher", group="Networks", default="resnet32x4", help="The teacher's model.")
@option("--student", group="Networks", default="resnet8x4", help="The student's model.")
@option("--methods", group="Networks", metavar="NAME,NAME…", help="Which heads.  [default: all]")
@option("--batch-size", group="Measurement", default=64, type=click.IntRange(2), help="Images.")
@option("--rounds", group="Measurement", default=7, type=click.IntRange(1), help="How often each is measured.")
@_device_option("Measurement")
@_json_option
def heads(
    teacher: str, student: str, methods: str | None, batch_size: int, rounds: int, device: str, as_json: bool
) -> int:
    """Time and memory of each head, forward and backward, beside the student's own step."""
    from ignite_kd.bench.heads import bench_heads
    from ignite_kd.devices import pick_device
    from ignite_kd.heads import kind

    names = [kind(word.strip().lower()).name for word in methods.split(",")] if methods else []
    step, costs = bench_heads(teacher, student, batch_size, rounds, str(pick_device(device)), names)
    if as_json:
        found = {"teacher": teacher, "student": student, "batch_size": batch_size, "rounds": rounds}
        click.echo(json.dumps(found | {"step": asdict(step), "heads": [asdict(cost) for cost in costs]}, indent=2))
        return 0
    click.echo(f"{teacher} → {student}, batch {batch_size}, median of {rounds} rounds (between the quartiles)")
    click.echo(f"{'':<24}{'ms':>9}{'±':>8}{'of the step':>14}{'peak MiB':>10}")
    click.echo(_line(f"{student} alone", step))
    for cost in costs:
        click.echo(f"{cost.name:<24}refused: {cost.refused}" if cost.refused else _line(cost.name, cost))
    return 0


@command.command("methods", cls=GroupedCommand)
@option("--path_t", group="Networks", required=True, metavar="FILE", help="The trained teacher.")
@option("--model_s", group="Networks", default="wrn_16_2", metavar="NAME", help="The student's model.")
@option("--methods", group="Networks", metavar="NAME,NAME…", help="Which methods.  [default: all]")
@option("--epochs", group="Training", default=3, type=click.IntRange(2), help="Of a first stage too.")
@option("--learning-rate", group="Training", type=float, help="Another one than the benchmark's.")
@option("--samples-per-class", group="Training", default=10, type=click.IntRange(1), help="Images of CIFAR-100.")
@option("--data-dir", group="Training", default="./data/", metavar="DIR", help="Where CIFAR-100 is.")
@_device_option("Training")
@option("--output-dir", group="Training", default="./runs/bench-methods", metavar="DIR", help="For the runs' folders.")
def methods(
    path_t: str, model_s: str, methods: str | None, epochs: int, learning_rate: float | None, samples_per_class: int,
    data_dir: str, device: str, output_dir: str,
) -> int:  # fmt: skip
    """A short real training by each method: its loss should fall, and nothing should be NaN. Minutes on a CPU."""
    from pathlib import Path

    from ignite_kd.bench.methods import prove_methods
    from ignite_kd.recipes import crd
    from ignite_kd.recognise import teacher_name

    names = [crd.method_of(word.strip()) for word in methods.split(",")] if methods else []
    plan: dict[str, Any] = {"dataset": "cifar100", "max_epochs": epochs, "samples_per_class": samples_per_class}
    machine: dict[str, Any] = {"data_dir": data_dir, "device": device}
    folder, teacher = Path(output_dir), teacher_name(path_t)
    lines = [f"{'':<24}{'term, first and last epoch':>28}{'whole loss':>20}{'test':>8}{'s':>7}"]
    wanted, fell = list(names or crd.methods()), []
    for proof in prove_methods(teacher, path_t, model_s, folder, wanted, learning_rate, **plan, **machine):
        fell.append(proof.falls())
        if proof.failed:
            lines.append(f"{proof.name:<24}failed: {proof.failed}")
            continue
        term, loss = ("{:.5g} → {:.5g}".format(*pair) for pair in (proof.term, proof.loss))
        verdict = "" if proof.falls() else "  does not fall"
        lines.append(f"{proof.name:<24}{term:>28}{loss:>20}{proof.accuracy:>8.1%}{proof.seconds:>7.0f}{verdict}")
    click.echo("\n".join(lines))  # at the end: the trainings print, too
    if len(fell) < len(wanted):
        click.echo(f"stopped before {', '.join(wanted[len(fell) :])}")
    return 0 if fell == [True] * len(wanted) else 1


def _line(title: str, cost: object) -> str:
    found = vars(cost)
    milliseconds = f"{found['seconds'] * 1e3:>9.1f}{found['spread'] * 1e3:>8.1f}"
    return f"{title:<24}{milliseconds}{found['share']:>14.1%}{found['megabytes']:>10.1f}"


def _page(report: Report) -> str:
    """The report of `bench step`, to be read."""
    task, machine = report.task, report.machine
    borrowed = f"; the released loop has this package's {', '.join(report.borrowed)}" if report.borrowed else ""
    compiled = ", compiled" if task["compiled"] else ""
    lines = [
        f"{task['teacher']} → {task['student']}, {' + '.join(task['loss'])}{borrowed}",
        f"batch {task['batch_size']} of {task['dataset']} ({task['images']} images), {task['precision']}{compiled}, "
        f"{machine['device']}: {machine['name']}, torch {machine['versions']['torch']}",
        f"medians of {task['rounds']} rounds of {task['steps']} steps; ± is the distance between the quartiles",
        "",
        f"{'':<24}{'ms/step':>10}{'±':>8}{'ratio':>8}{'of ' + report.format:>10}{'peak MiB':>10}",
        f"{'released loop':<24}{_ms(report.plain.median)}{report.plain.spread * 1e3:>8.1f}{'':>18}"
        f"{report.plain_mebibytes:>10.0f}",
    ]
    for found in report.classrooms:
        title = f"{found.students} student{'s' * (found.students > 1)}"
        share = f"{found.share:>10.0%}" if found.share is not None else f"{'?':>10}"
        memory = f"{found.mebibytes:>10.0f}" if found.mebibytes is not None else f"{'?':>10}"
        lines.append(f"{title:<24}{_ms(found.seconds)}{found.spread * 1e3:>8.1f}{found.ratio:>7.2f}×{share}{memory}")
    rates = ", ".join(f"{kind} {rate / 1e9:.0f}" for kind, rate in report.rates.items())
    lines += [
        f"ratio: of the released loop's time to that of one student; of {report.format}: share of the matrix rate",
        "products are counted as in plain sums; Winograd's filtering (compiled, on CPUs) needs fewer: above 100%",
        "peak: what a step adds at its peak, by its tensors; by the process's pages where it is compiled on a CPU",
        "",
        f"{'part of a step':<30}{'ms':>9}{'±':>8}{'limit':>9}   (products alone, at the matrix rate)",
    ]
    for part in report.parts:
        limit = f"{part.limit * 1e3:>9.2f}" if part.limit is not None else f"{'':>9}"
        lines.append(f"{part.name:<30}{part.seconds * 1e3:>9.2f}{part.spread * 1e3:>8.2f}{limit}".rstrip())
    overhead = report.overhead
    lines += [
        f"{'rest: engine, metrics, checks':<30}{overhead.median * 1e3:>9.2f}{overhead.spread * 1e3:>8.2f}",
        "",
        f"data alone      {report.data.stream:,.0f} images/s, released loader with {task['workers']} workers "
        f"{report.data.pictures:,.0f}: {report.data.ratio:.1f}×",
        f"matrix products {rates} GFLOP/s; a step of one student has {sum(report.flops.values()) / 1e9:.1f} GFLOP",
        f"start           {report.start_up:.2f} s to the first step ({report.build:.2f} s to build the session, "
        f"then a look at the teacher), {report.help:.2f} s for --help",
    ]
    if report.compilation is not None:
        lines.append(f"compilation     {report.compilation:.1f} s in the first step")
    return "\n".join(lines)


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:>10.1f}"
