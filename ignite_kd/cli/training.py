"""What every command that trains does with its options: a plan for each student, then one training of them all."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from ignite_kd.cli.options import GroupedCommand
from ignite_kd.errors import UserError
from ignite_kd.terms import check_terms

if TYPE_CHECKING:
    from ignite_kd.plan import Plan

__all__ = ["TrainingCommand", "TwoTrainings", "plan_of"]


class TwoTrainings(NamedTuple):
    """What a command may make instead of a plan: a training, and one that goes on from its weights."""

    first: Plan
    then: Callable[[Plan], Plan]  # gets the first one, with the names that it has among its classmates


class TrainingCommand(GroupedCommand):
    """A command whose function makes a `Plan` of its options; calling it trains.

    `--student-run "OPTIONS"` makes one more plan with these options instead of those outside, `--students N` repeats
    each with the next seeds. A function that returns a number has done something else, and that is the exit status;
    one that returns `TwoTrainings` trains twice.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        typed = self._typed(ctx, list(args))
        rest = super().parse_args(ctx, args)
        ctx.meta[__name__] = typed
        return rest

    def invoke(self, ctx: click.Context) -> int:
        runs, count = ctx.params.pop("student_run"), ctx.params.pop("students")
        max_restarts = ctx.params["max_restarts"]
        if not runs and count == 1:
            plans = [super().invoke(ctx)]
        else:
            plans = [self._plan(ctx, typed) for typed in list(self._repeated(ctx, count, runs))]
        if isinstance(plans[0], int):
            return plans[0]
        then = [made.then if isinstance(made, TwoTrainings) else None for made in plans]
        plans = [made.first if isinstance(made, TwoTrainings) else made for made in plans]
        shared_order = plans[0].order

        from ignite_kd.launch import launch  # torch is imported here: a typo above is answered at once
        from ignite_kd.plan import classmates

        named = classmates([dataclasses.replace(plan, order_seed=shared_order) for plan in plans]).values()
        status = launch(list(named), max_restarts)
        seconds = [go_on(plan) for go_on, plan in zip(then, named, strict=True) if go_on is not None]
        return status if status or not seconds else launch(seconds, max_restarts)

    def _repeated(self, ctx: click.Context, count: int, runs: tuple[str, ...]) -> Iterator[dict[str, Any]]:
        """What would have been typed for each student alone."""
        outside = {k: v for k, v in ctx.meta[__name__].items() if k not in ("student_run", "students")}
        for run in runs or ("",):
            try:
                inside = self._typed(ctx, shlex.split(run))
            except (click.UsageError, ValueError) as error:
                told = error.format_message() if isinstance(error, click.UsageError) else str(error)
                raise UserError(f"--student-run '{run}': {told}") from None
            if "student_run" in inside or "students" in inside:
                raise UserError(f"--student-run '{run}': students of a student; write one --student-run for each.")
            typed = outside | inside
            for i in range(count):
                yield typed | self._next_seed(typed, i)

    def _next_seed(self, typed: dict[str, Any], i: int) -> dict[str, Any]:
        """The seed of repetition `i`; in the benchmark a trial is the seed, and names the folder."""
        usual = {str(parameter.name): parameter.default for parameter in self.params}
        changes = {}
        for name in ("trial", "seed"):
            value = typed.get(name, usual.get(name))
            if i and str(value).isdecimal():
                changes[name] = str(int(str(value)) + i)
        return changes

    def _plan(self, ctx: click.Context, typed: dict[str, Any]) -> Any:
        with self.make_context(str(ctx.info_name), self._words(typed), parent=ctx.parent) as own:
            del own.params["student_run"], own.params["students"]
            return super().invoke(own)

    def _words(self, typed: dict[str, Any]) -> list[str]:
        """A command line that says it."""
        words = []
        for parameter in self.params:
            found = typed.get(str(parameter.name), [])
            for value in found if isinstance(found, list) else [found]:
                words.append(f"{parameter.opts[-1]}={value}" if isinstance(value, str) else parameter.opts[-1])
        return words

    def _typed(self, ctx: click.Context, args: list[str]) -> dict[str, Any]:
        """The options among the words, by parameter, as they were typed."""
        found, rest, _ = self.make_parser(ctx).parse_args(args)
        if rest:
            raise click.UsageError(f"Got unexpected extra argument ({' '.join(rest)})")
        return dict(found)


def plan_of(shared: dict[str, Any], **wanted: Any) -> Plan:
    """A plan from the options that all trainings share and those of a command; checks what can be checked at once."""
    from ignite_kd import recipes
    from ignite_kd.launch import processes_around
    from ignite_kd.plan import Plan

    settings = dict(shared)
    recipe = settings.pop("recipe")
    recipe = recipe if isinstance(recipe, recipes.Recipe) else recipes.get(recipe)
    epochs = settings.pop("max_epochs") or recipe.epochs
    typed = settings["keep_epochs"] or ()
    if typed != recipes.base.PUBLISHED_HISTORY and (beyond := [str(epoch) for epoch in typed if epoch > epochs]):
        click.echo(f"note: --keep-epochs {','.join(beyond)} is beyond the last epoch, {epochs}")
    del settings["max_restarts"]  # of the command, not of a student
    processes = max(settings.pop("nproc_per_node"), processes_around())
    plan = Plan(
        recipe=recipe,
        max_epochs=epochs,
        processes=processes,
        compile=settings.pop("compile_"),
        **settings,
        **wanted,
    )
    check_terms(plan.terms)
    return plan
