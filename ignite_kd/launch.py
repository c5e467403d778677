"""One process or several: the same training."""

from __future__ import annotations

import dataclasses
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
from collections.abc import Callable
from multiprocessing.connection import wait
from typing import Any

from ignite_kd import run_folder
from ignite_kd.errors import RunFailed, UserError
from ignite_kd.plan import Plan

__all__ = ["free_port", "launch"]

_GRACE = 5.0  # seconds in which processes may end by themselves after one of them failed


def launch(plan: Plan, max_restarts: int = 0) -> int:
    """Run a plan here, in `plan.processes` processes, or in those that torchrun started; returns the exit status.

    Args:
        plan: what to train.
        max_restarts: how often processes of which one was killed are started again, to go on from the last checkpoint.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        return _share(plan)
    if plan.processes == 1:
        return _train(plan)
    if max_restarts and plan.output_dir is None:  # all of them shall go on in one folder
        folder, resuming = run_folder.choose(plan)
        plan = dataclasses.replace(plan, output_dir=str(folder), resume="auto" if resuming else "never")
    for left in range(max_restarts, -1, -1):
        processes = _Processes(plan)
        status = processes.run()
        if status >= 0:
            return status
        killed = f"a process was killed by signal {-status}"
        if left:
            print(f"{killed}; starting again from the last checkpoint ({left} times left)", file=sys.stderr, flush=True)
            plan = dataclasses.replace(plan, resume="auto")
    raise RunFailed(f"{killed}; go on with --resume auto.")


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return int(server.getsockname()[1])


class _Processes:
    """The processes of a plan on this machine. Signals to this one reach them, and none outlives it."""

    def __init__(self, plan: Plan) -> None:
        context = multiprocessing.get_context("spawn")
        self.asked = 0  # the signal that came last
        self.failures = context.SimpleQueue()
        port = str(free_port())
        self.workers: list[Any] = []
        for rank in range(plan.processes):
            # what torchrun says
            place = {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(plan.processes)}
            place |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
            self.workers.append(context.Process(target=_worker, args=(plan, place, self.failures)))

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
            print(self.failures.get(), file=sys.stderr, flush=True)  # the first: others may follow from it
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


def _worker(plan: Plan, place: dict[str, str], failures: Any) -> None:
    os.environ.update(place)
    if hasattr(os, "setpgrp"):
        os.setpgrp()  # Ctrl-C comes from the parent alone, so once
    threading.Thread(target=_end_with_parent, daemon=True).start()
    sys.exit(_share(plan, failures.put))


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGTERM)


def _share(plan: Plan, say: Callable[[str], None] | None = None) -> int:
    """Be one process of several, whose place the environment says."""
    import ignite.distributed as idist  # here: who only waits for processes needs no torch
    import torch

    logging.disable(logging.INFO)  # ignite tells how it connects
    backend = "nccl" if torch.cuda.is_available() and plan.device != "cpu" else "gloo"
    idist.initialize(backend)
    try:
        return _say_errors(plan, say)
    finally:
        idist.finalize()


def _say_errors(plan: Plan, say: Callable[[str], None] | None) -> int:
    """Errors become the exit status; under torchrun what all find is said once, a damaged image by who met it."""
    import ignite.distributed as idist

    try:
        status = _train(plan)
        idist.barrier()  # who starts processes may end all as soon as one has ended: the first may be writing still
        return status
    except (UserError, RunFailed, OSError) as error:
        if say is not None:
            say(f"error: {error}")
        elif idist.get_rank() == 0 or (isinstance(error, UserError) and error.while_training):
            print(f"error: {error}", file=sys.stderr, flush=True)
        return 2 if isinstance(error, UserError) else 1
    except Exception:
        if say is None:
            raise
        say(traceback.format_exc())
        return 1


def _train(plan: Plan) -> int:
    from ignite_kd.session import Session

    logging.getLogger("ignite").setLevel(logging.CRITICAL)  # errors are said in one line by the command
    session = Session(plan)
    try:
        return session.run()
    except UserError as error:
        error.while_training = True
        raise
    finally:
        session.close()
