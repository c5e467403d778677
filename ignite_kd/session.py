"""One training from a plan: build, attach, run. Every command that trains comes through here."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any, cast

import click
import ignite.distributed as idist
import torch
from torch import nn

from ignite_kd import heads, loaders, models, run_folder
from ignite_kd.allocation import keep_freed_memory
from ignite_kd.cards import check_place, origin_of, read_card
from ignite_kd.compiled import check_compiler, compile_student, compile_teacher, compiling_pays
from ignite_kd.devices import name_of, pick_device, prepare_precision
from ignite_kd.engines import StudentEngine, TeacherEngine
from ignite_kd.errors import Diverged, RunFailed, UserError
from ignite_kd.first_stage import train_first_stage
from ignite_kd.foreign import refuse_foreign_weights
from ignite_kd.handlers import (
    AverageGradients,
    Checkpoints,
    ClipGradients,
    Console,
    DoubledForward,
    EndEpoch,
    EpochMeans,
    Evaluate,
    Freeze,
    KeepBest,
    KeepEpochs,
    Plateau,
    RunRecord,
    SeedSteps,
    StopOnNonFinite,
    Stopping,
    WarmUp,
    schedule_of,
    tracker,
    versions,
)
from ignite_kd.heads.first_stage import FirstStage
from ignite_kd.introduction import introduce
from ignite_kd.losses import build_head, first_stage
from ignite_kd.optimizer import sgd
from ignite_kd.outcome import conclude
from ignite_kd.plan import Plan
from ignite_kd.recorded import FixedPlaces, record_student, record_teacher
from ignite_kd.smallest_batch import refuse_a_batch_of_one
from ignite_kd.terms import Term
from ignite_kd.weights import load_trunk, load_weights

__all__ = ["Session"]


class Session:
    """A training, ready to run. `student` is an engine: anything else may be attached to it before `run()`.

    Args:
        plan: what to train.
        beside: a session whose data, teacher and moment of stopping this student shares; `classroom.train` runs both.
        label: tells this student's lines from those of its classmates.
    """

    stopping: Stopping
    compiled: bool
    places: FixedPlaces | None
    folder: Path
    _lock: IO[str]

    def __init__(self, plan: Plan, beside: Session | None = None, label: str = "") -> None:
        self.plan, self.recipe, self.label = plan, plan.recipe, label
        self.stopping = beside.stopping if beside else Stopping(plan.time_limit)
        self.rank, self.processes = idist.get_rank(), idist.get_world_size()
        self.device = pick_device(str(idist.device()) if self.processes > 1 else plan.device)
        self.precision = prepare_precision(plan.precision, self.device)
        if self.device.type == "cpu":
            keep_freed_memory()
        if plan.state_dict_path is not None:
            check_place(plan.state_dict_path)
            for what, read in (("its teacher", plan.teacher_path), ("the weights it starts from,", plan.student_path)):
                if read and Path(plan.state_dict_path).resolve() == Path(read).resolve():
                    raise UserError(f"the student would be written over {what} {read}; name another file.")
        self.identity = run_folder.identity_of(plan)
        self._check_names()
        self.before = self._enter_folder()
        try:
            self._prepare(beside)
        except BaseException:
            self.close()
            raise

    def _prepare(self, beside: Session | None) -> None:
        plan = self.plan
        self.is_first = beside is None  # says what classmates share
        if beside is None:
            split_seed = self.before.get("data", {}).get("split", {}).get("seed")
            self.data = loaders.prepare(plan, self.device, split_seed, self.rank, self.processes)
            self.teacher = self._build_teacher() if plan.teacher else None
        else:
            self.data, self.teacher = beside.data, beside.teacher
        if plan.classes not in (None, len(self.data.classes)):
            raise UserError(
                f"{plan.classes} classes were asked for, but {plan.dataset} in {plan.data_dir} has "
                f"{len(self.data.classes)}; leave the number out, or name other data."
            )
        self.started_from = self.before.get("started_from")
        torch.manual_seed(plan.seed)
        self.model = self.build_model(plan.student)
        if plan.trunk_path is not None:
            load_trunk(self.model, plan.trunk_path)
        if plan.student_path is not None:
            load_weights(self.model, plan.student_path)
            origin = origin_of(plan.student_path)
            self.started_from = self.started_from or origin
            self._check_origin(plan.student_path, origin["card"])
        self.compiled = beside.compiled if beside else self._decide_to_compile()
        size = self.data.train.order.batch_size // self.processes
        self.places = beside.places if beside else FixedPlaces(size) if plan.compile == "graphs" else None
        self.student = self._build_student()
        if self.compiled:
            compile_student(self.student, size)
            if self.teacher is not None and beside is None:
                compile_teacher(self.teacher, size)
        if self.places is not None:
            record_student(self.student, self.places)
            if self.teacher is not None and beside is None:
                record_teacher(self.teacher, self.places)
        self._attach_handlers()

    def _check_names(self) -> None:
        """What needs no data is refused before any is read, or downloaded; a wrong method even with a factor of 0."""
        for term in self.plan.terms:
            heads.kind(term.method)
        for name in filter(None, (self.plan.student, self.plan.teacher)):
            models.check_name(name, self.plan.image_size or 32)

    def run(self) -> int:
        """Train to the end or to a stop; returns the exit status."""
        from ignite_kd.classroom import train  # which knows sessions, one or several

        return train([self])

    @property
    def steps_left(self) -> int:
        """Batches until the training's end."""
        return self.plan.max_epochs * len(self.data.train) - self.student.state.iteration

    def begin(self) -> bool:
        """Go on where a run stands, and say what this is; False where it is finished already."""
        if self.before:
            self._resume()
        kept = self.plan.state_dict_path is None or Path(self.plan.state_dict_path).exists()
        if self.steps_left <= 0 and self.before.get("status") == "finished" and kept:
            self.say(f"{self.folder} is finished: {self.before['summary']}")
            return False
        self.note(
            status="running",
            identity=self.identity,
            plan=asdict(self.plan),
            processes=self._processes_so_far(),
            earlier=self._earlier(),
            command=self.plan.command,
            quirks=self.recipe.quirks(),
            data=self.data.describe(),
            image_size=self.data.image_size,
            started_from=self.started_from,
            parameters=models.parameters(self.model),
            compiled=self.compiled,
            versions=versions(),
            device=name_of(self.device),
            started=self.before.get("started", time.strftime("%Y-%m-%dT%H:%M:%S%z")),
        )
        introduce(self)
        self._started = time.monotonic()
        epochs = sum(line.get("seconds", 0.0) for line in self.record.read())  # all there is of a run that was killed
        self._spent = max(self.before.get("seconds", 0.0), epochs)
        return True

    def first_stages_are_done(self) -> bool:
        """Train what some methods train first; False where that was stopped."""
        if self.student.state.iteration:  # a checkpoint of the student proper holds what came out of them
            return True
        return all(train_first_stage(self, name, stage) for name, stage in self.first_stages.items())

    def failed(self, error: RunFailed) -> RunFailed:
        """Record that the training came to nothing; the error with what is left to go on from."""
        saved = self.checkpoints.files()
        where = f"the last good checkpoint is {saved[-1]}" if saved else "no checkpoint was written yet"
        self.note(
            status="failed", error=str(error), diverged=isinstance(error, Diverged), seconds=self._seconds_so_far()
        )
        return RunFailed(f"{error} ({where})")

    def finish(self) -> int:
        """Write and say what came of it; returns the exit status."""
        self.note(seconds=self._seconds_so_far())
        if self.steps_left > 0:
            reason = self.stopping.reason or "a handler"
            self.note(status="stopped", reason=reason)
            done = f"{self.student.state.iteration // len(self.data.train)} of {self.plan.max_epochs} epochs"
            self.say(f"stopped by {reason} after {done}, saved in {self.folder}; {self.plan.how_to_go_on}")
            return self.stopping.status
        self.say(conclude(self))
        return 0

    def close(self) -> None:
        """Let others into the folder; one in which nothing came about goes away again."""
        if self.rank == 0:
            run_folder.leave(self.folder, self._lock)

    def say(self, line: str) -> None:
        """Print a line, once however many processes there are."""
        if self.rank == 0:
            click.echo(f"[{self.label}] {line}" if self.label else line)

    def _enter_folder(self) -> dict[str, Any]:
        chosen, resuming = run_folder.choose(self.plan) if self.rank == 0 else ("", False)
        self.folder = Path(idist.broadcast(str(chosen), src=0, safe_mode=True) if self.processes > 1 else chosen)
        before = {}
        if self.processes > 1:
            resuming = bool(idist.broadcast(float(resuming), src=0, safe_mode=True))
        if resuming:
            before = run_folder.refuse_changes(self.folder, self.identity)
        if self.rank == 0:
            self._lock = run_folder.lock(self.folder)
        return before

    def build_model(self, name: str, classes: int | None = None, image_size: int | None = None) -> nn.Module:
        """A fresh network of that name for this data."""
        size = models.size_options(name, image_size or self.data.image_size)
        model = models.build(name, num_classes=classes or len(self.data.classes), **size)
        return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]

    def _build_teacher(self) -> TeacherEngine:
        name, path = str(self.plan.teacher), str(self.plan.teacher_path)
        model = self.build_model(name)
        load_weights(model, path)
        self._check_origin(path, read_card(path))
        return TeacherEngine(model, self.device, self.precision, self.recipe.teacher_batch_statistics)

    def _check_origin(self, path: str, card: dict[str, Any] | None) -> None:
        """Warn of weights that have seen the images that validate, or refuse them."""
        warning = refuse_foreign_weights(self.data, card, path, self.recipe.foreign_teacher)
        if warning:
            self.say(warning)

    def _build_student(self) -> StudentEngine:
        plan, recipe = self.plan, self.recipe
        optimizer = sgd(recipe, self.model.parameters(), recipe.rate_of(plan.student))
        if recipe.doubled_norm_updates and hasattr(self.model, "doubled_norm_updates"):
            cast(Any, self.model).doubled_norm_updates = True
        refuse_a_batch_of_one(plan, self.model, self.data, self.processes)
        student = StudentEngine(self.model, optimizer, self.device, self.precision)
        if self.places is not None:
            self.places.attach(student)
        SeedSteps(plan.seed, self.rank).attach(student)
        if recipe.doubled_forward and self.teacher is not None:
            DoubledForward().attach(student)
        if plan.frozen is not None:
            Freeze(plan.frozen, norms=not recipe.moving_frozen_norms).attach(student)
        if self.teacher is not None:
            self.teacher.attach(student)
        self.first_stages: dict[str, FirstStage] = {}
        for term in plan.terms:
            if term.factor:
                self._attach_term(student, term)
        if not student.heads:
            raise UserError(
                f"after the first stage of {', '.join(self.first_stages)} nothing would be learned; "
                "give another term a factor, e.g. --loss ce:1."
            )
        return student

    def _decide_to_compile(self) -> bool:
        """What was asked for; else what was decided when the run began; else whether that pays on this machine."""
        wish = self.plan.compile
        if wish == "graphs" and (self.device.type != "cuda" or self.processes > 1):
            raise UserError(
                f"--compile graphs records the steps of one process on a GPU, but here {self.processes} run on "
                f"{self.device.type}; say --compile on."
            )
        if wish in ("on", "graphs"):
            check_compiler(self.device)
        if wish != "auto":
            return wish != "off"
        if "compiled" in self.before:
            return bool(self.before["compiled"])
        if self.processes > 1:  # what they say to each other would break the graph
            return False
        teacher = None if self.teacher is None else self.teacher.model
        images = self.plan.max_epochs * self.data.train.order.n
        return compiling_pays(self.device, self.model, teacher, images, self.data.image_size)

    def _attach_term(self, student: StudentEngine, term: Term) -> None:
        teacher = None if self.teacher is None else self.teacher.model
        head = build_head(term, self.recipe, self.model, teacher, self.data.train_labels, self.data.image_size)
        stage, counts = first_stage(head, self.model, self.recipe)
        if stage is not None:
            self.first_stages[head.name] = stage
        if counts:
            own = [parameter for parameter in head.parameters() if parameter.requires_grad]
            if own and self.recipe.head_rate != 1:  # else they join the student's group, as in the released codes
                rate = self.recipe.head_rate
                student.optimizer.add_param_group(
                    {"params": own, "rate": rate, "lr": rate * self.recipe.rate_of(self.plan.student)}
                )
            head.attach(student, factor=term.factor)
            if term.warm_up:
                WarmUp(head.name, term.warm_up, self.recipe.warm_up_from).attach(student)

    def _attach_handlers(self) -> None:
        """At the end of an epoch: measure, judge, record, show, and save last what all of them then hold."""
        student, recipe, plan = self.student, self.recipe, self.plan
        scheduled = schedule_of(recipe, recipe.rate_of(plan.student), plan.max_epochs)
        if scheduled is not None:
            scheduled.attach(student)
        if self.processes > 1:
            AverageGradients().attach(student)
        if recipe.gradient_norm:
            ClipGradients(recipe.gradient_norm).attach(student)
        means, finite = EpochMeans(), StopOnNonFinite()
        means.attach(student)
        finite.attach(student)
        objects: dict[str, Any] = {"means": means}
        self.best: KeepBest | None = None
        if self.data.validation is not None and recipe.validate_every:
            evaluation = Evaluate(self.data.validation, every=recipe.validate_every)
            evaluation.attach(student)
            objects["validation"] = evaluation
            self.best = KeepBest(evaluation, self.folder / "checkpoints" / "best.th")
        if recipe.schedule == "plateau":
            if self.best is None:
                raise UserError("the schedule plateau looks at validation; keep validation_images and validate_every.")
            objects["plateau"] = Plateau(student, recipe.decay, recipe.patience)
        self.tested: Evaluate | None = None
        if recipe.test_every_epoch and self.data.test is not None:
            self.tested = objects["tested"] = Evaluate(self.data.test, "test")
            self.tested.attach(student)
        if plan.keep_epochs:
            # what was learned is read off the last weights
            history = KeepEpochs(self.folder / "history", {*plan.keep_epochs, plan.max_epochs})
            history.attach(student)
            objects["history"] = history
        self.record, self.console = RunRecord(self.folder), Console(total_epochs=plan.max_epochs, label=self.label)
        self.checkpoints = Checkpoints(
            self.folder / "checkpoints",
            lambda: student.to_save() | objects,  # asked anew each time: heads may be attached after this
            check=finite.check,
        )
        if self.rank == 0:
            if self.best is not None:
                self.best.attach(student)
            self.record.attach(student)
            self.console.attach(student)
            if plan.tracker:
                tracker(plan.tracker, self.folder / plan.tracker).attach(student)
        if "plateau" in objects:
            objects["plateau"].attach(student)  # after the record, which tells the rate that was used
        EndEpoch().attach(student)
        self.checkpoints.attach(student)
        self.stopping.attach(student)

    def _resume(self) -> None:
        known = self.before.get("data") or {}
        if known.get("digest", self.data.digest) != self.data.digest:
            raise UserError(
                f"{self.folder} was trained on other data ({known['digest']}, here {self.data.digest}); "
                "restore that data, or choose another --output-dir."
            )
        if known and known.get("split") != self.data.describe().get("split"):
            raise UserError(f"{self.folder} was trained on another split than its classmates; go on with it alone.")
        if self.before.get("compiled", self.compiled) != self.compiled:
            how = {True: "compiled", False: "not compiled"}
            raise UserError(
                f"{self.folder} was begun {how[not self.compiled]}, but its classmates are {how[self.compiled]}; go on "
                "with it alone."
            )
        found = self.checkpoints.load_latest()
        state, length = self.student.state, len(self.data.train)
        if found is not None and state.epoch_length != length:
            raise UserError(
                f"{found} was written with {state.epoch_length} batches an epoch, but the data gives {length}."
            )
        if state.iteration > self.plan.max_epochs * length:
            done = -(-state.iteration // length)
            raise UserError(
                f"{self.folder} is in epoch {done} already; ask for {done} epochs or more to go on with it."
            )
        self.record.truncate(state.iteration // length)
        self.say(f"resuming {self.folder} after {state.iteration // length} epochs, {state.iteration % length} batches")
        if self.before.get("processes", [self.processes])[-1] != self.processes:
            self.say(
                f"processes {self.before['processes'][-1]} before, {self.processes} now: "
                "the result is the same but for rounding, not to the bit"
            )

    def note(self, **entries: Any) -> None:
        """Set entries of the run's record."""
        if self.rank == 0:
            self.record.update(**entries)

    def _seconds_so_far(self) -> float:
        return float(round(self._spent + time.monotonic() - self._started, 3))

    def _earlier(self) -> list[dict[str, Any]]:
        """What was used before this session took the training up, where that was something else."""
        now = {"command": self.plan.command, "versions": versions(), "device": name_of(self.device)}
        before = {name: self.before[name] for name in now if name in self.before}
        known = list(self.before.get("earlier", []))
        return known if not before or before == now or before in known else [*known, before]

    def _processes_so_far(self) -> list[int]:
        """How many there were, one number each time that this changed: one alone means results to the bit."""
        before = list(self.before.get("processes", []))
        return before if before[-1:] == [self.processes] else [*before, self.processes]
