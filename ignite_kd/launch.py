"""One process or several: the same training."""

from __future__ import annotations

import dataclasses
import itertools
import logging
import math
import multiprocessing
import os
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from multiprocessing.connection import wait
from typing import Any

from ignite_kd import run_folder
from ignite_kd.errors import RunFailed, UserError, out_of_memory
from ignite_kd.plan import Plan, classmates

__all__ = ["free_port", "launch"]

_TRAININGS = itertools.count()
_GRACE = 5.0  # seconds in which processes may end by themselves after one of them failed


def processes_around() -> int:
    """How many processes torchrun started; 1 without it."""
    word = os.environ.get("WORLD_SIZE") or "1"
    if not word.isdecimal():
        raise UserError(f"WORLD_SIZE should be the number of processes that torchrun started, but is '{word}'.")
    return int(word)


def launch(plans: Sequence[Plan], max_restarts: int = 0) -> int:
    """Train here, in `processes` processes, or in those that torchrun started; returns the exit status.

    Args:
        plans: what to train; several are students that learn from the same batches.
        max_restarts: how often processes of which one was killed are started again, to go on from the last checkpoint.
    """
    named = classmates(plans)
    if processes_around() > 1:
        return _share(named)
    if plans[0].processes == 1:
        if max_restarts:
            raise UserError(
                "--max-restarts starts the processes of --nproc-per-node again, but there is one only; leave it out: "
                "the same command with --resume auto goes on with a run that was killed."
            )
        return _train(named)
    if max_restarts:
        named = {label: _in_one_folder(plan) for label, plan in named.items()}
    limit, begun = plans[0].time_limit, time.monotonic()  # students that are trained at once share it
    for left in range(max_restarts, -1, -1):
        processes = _Processes(named)
        status = processes.run()
        if status >= 0:
            return status
        killed = f"a process was killed by signal {-status}"
        if left:
            _print(f"{killed}; starting again from the last checkpoint ({left} times left)")
            rest = None if limit is None else max(0.0, limit - (time.monotonic() - begun))
            named = {label: dataclasses.replace(plan, resume="auto", time_limit=rest) for label, plan in named.items()}
    raise RunFailed(f"{killed}; {plans[0].how_to_go_on}.")


def _in_one_folder(plan: Plan) -> Plan:
    """This plan with the folder in which all its restarts shall go on."""
    if plan.output_dir is not None:
        return plan
    folder, resuming = run_folder.choose(plan)
    return dataclasses.replace(plan, output_dir=str(folder), resume="auto" if resuming else "never")


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return int(server.getsockname()[1])


class _Processes:
    """The processes of a training on this machine. Signals to this one reach them, and none outlives it."""

    def __init__(self, named: dict[str, Plan]) -> None:
        context = multiprocessing.get_context("spawn")
        self.asked = 0  # the signal that came last
        self.failures = context.SimpleQueue()
        port = str(free_port())
        self.workers: list[Any] = []
        count = next(iter(named.values())).processes
        for rank in range(count):
            # what torchrun says
            place = {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(count)}
            place |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
            self.workers.append(context.Process(target=_worker, args=(named, place, self.failures)))

    def run(self) -> int:
        """The exit status of all; negative, as `multiprocessing` has it, where one was killed."""
        before = {}
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                before[number] = signal.signal(number, self._forward)
        try:
            for worker in self.workers:
                worker.start()
            if self.asked:  # while they were being started
                self._forward(self.asked)
            codes = self._wait()
        finally:
            for worker in self.workers:
                if worker.pid is not None:
                    worker.kill()
                    worker.join()
            for number, handler in before.items():
                signal.signal(number, handler)
        if self.asked and any(codes) and not {1, 2} & set(codes):
            return 128 + self.asked
        if min(codes) >= 0 and not self.failures.empty():
            _print(self.failures.get())  # the first: others may follow from it
        return min(codes) if min(codes) < 0 else max(codes)

    def _forward(self, number: int, *_: Any) -> None:
        self.asked = number
        for worker in self.workers:
            if worker.pid is not None and worker.is_alive():
                os.kill(worker.pid, number)

    def _wait(self) -> list[int]:
        """The exit codes of those that end by themselves, soon after one that failed."""
        running, deadline = list(self.workers), math.inf
        while running and time.monotonic() < deadline:
            left = None if deadline == math.inf else deadline - time.monotonic()
            wait([worker.sentinel for worker in running], left)
            running = [worker for worker in running if worker.is_alive()]
            codes = [worker.exitcode for worker in self.workers if worker not in running]
            if any(codes):  # who waits for one that was killed has nothing left to do
                deadline = min(deadline, time.monotonic() + (_GRACE if min(codes) >= 0 else 0.0))
        return codes


def _worker(named: dict[str, Plan], place: dict[str, str], failures: Any) -> None:
    os.environ.update(place)
    if hasattr(os, "setpgrp"):
        os.setpgrp()  # Ctrl-C comes from the parent alone, so once
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        sys.exit(_share(named, failures.put))
    except KeyboardInterrupt:  # a second Ctrl-C
        sys.exit(130)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGTERM)


def _share(named: dict[str, Plan], say: Callable[[str], None] | None = None) -> int:
    """Be one process of several, whose place the environment says."""
    import ignite.distributed as idist  # here: who only waits for processes needs no torch

    logging.disable(logging.INFO)  # ignite tells how it connects
    try:
        return _say_errors(named, say)
    finally:
        idist.finalize()


def _backend(word: str) -> str:
    """How processes on these devices talk."""
    import torch

    from ignite_kd.devices import pick_device

    kind = pick_device(word).type
    if kind == "mps":
        raise UserError("several processes share CPUs or NVIDIA GPUs, not mps; say --device cpu.")
    place, count = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
    if kind == "cuda" and place >= count:
        raise UserError(
            f"each process takes a GPU, but this machine has {count}, so none for process {place + 1}; start fewer, or "
            "say --device cpu."
        )
    return "nccl" if kind == "cuda" else "gloo"


def _connect(backend: str) -> None:
    import ignite.distributed as idist
    import torch
    import torch.distributed as dist

    if backend == "nccl":
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    # torchrun keeps one store over its restarts, in which the addresses of those that were killed still stand; who
    # reads them waits for ever
    store, rank, size = next(dist.rendezvous("env://"))
    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    # nor must a second training of one command meet those of its first
    own = dist.PrefixStore(f"attempt-{attempt}-{next(_TRAININGS)}", store)
    dist.init_process_group(backend, store=own, rank=rank, world_size=size)
    idist.sync()


def _say_errors(named: dict[str, Plan], say: Callable[[str], None] | None) -> int:
    """Errors become the exit status; under torchrun what all find is said once, a damaged image by who met it."""
    import ignite.distributed as idist

    tell = say or _print
    try:
        _connect(_backend(next(iter(named.values())).device))
        status = _train(named)
        idist.barrier()  # who starts processes may end all as soon as one has ended: the first may be writing still
        return status
    except (UserError, RunFailed, OSError) as error:
        found_here = isinstance(error, UserError) and error.while_training
        if say is not None or os.environ["RANK"] == "0" or found_here:
            tell(f"error: {error}")
        return 2 if isinstance(error, UserError) else 1
    except Exception as error:
        line = out_of_memory(error)
        if line is None and say is None:
            raise
        tell(f"error: {line}" if line else traceback.format_exc())
        return 1


def _print(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _train(named: dict[str, Plan]) -> int:
    from ignite_kd.classroom import sessions_of, train

    logging.getLogger("ignite").setLevel(logging.CRITICAL)  # errors are said in one line by the command
    with sessions_of(named) as sessions:
        try:
            return train(sessions)
        except UserError as error:
            error.while_training = True
            raise
