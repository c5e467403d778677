"""One process or several: the same training."""

from __future__ import annotations

import logging
import os
import socket
import sys
from collections.abc import Sequence

import ignite.distributed as idist
import torch

from ignite_kd.classroom import classmates, sessions_of, train
from ignite_kd.errors import RunFailed, UserError
from ignite_kd.plan import Plan

__all__ = ["free_port", "launch"]


def launch(plans: Sequence[Plan]) -> int:
    """Train here, in `processes` processes, or in those that torchrun started; returns the exit status.

    Several plans are several students on the same batches.
    """
    named = classmates(plans)
    plan = plans[0]
    started_by_torchrun = int(os.environ.get("WORLD_SIZE", "1"))
    if plan.processes == 1 and started_by_torchrun == 1:
        return _train(0, named)
    logging.disable(logging.INFO)  # ignite's launcher tells how it launches
    logging.getLogger("torch.multiprocessing.spawn").setLevel(logging.ERROR)  # and torch's whom it ends after an error
    backend = "nccl" if torch.cuda.is_available() and plan.device != "cpu" else "gloo"
    if started_by_torchrun > 1:
        with idist.Parallel(backend=backend) as parallel:
            return parallel.run(_worker, named)
    try:
        here = {"master_addr": "127.0.0.1", "master_port": free_port()}  # ignite's own is one for all runs of a machine
        with idist.Parallel(backend=backend, nproc_per_node=plan.processes, **here) as parallel:
            parallel.run(_worker, named)
    except Exception as error:  # what a spawned process raised arrives as text
        status = getattr(error, "exit_code", None)
        if status is None:
            raise
        if status < 0:
            raise RunFailed(f"a process was killed by signal {-status}; go on with --resume auto.") from None
        return int(status)
    return 0


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return int(server.getsockname()[1])


def _worker(local_rank: int, named: dict[str, Plan]) -> int:
    """Errors become the exit status; what all processes find is said once, a damaged image by the one that met it."""
    try:
        status = _train(local_rank, named)
    except (UserError, RunFailed, OSError) as error:
        if idist.get_rank() == 0 or (isinstance(error, UserError) and error.while_training):
            print(f"error: {error}", file=sys.stderr, flush=True)
        status = 2 if isinstance(error, UserError) else 1
    if status:
        sys.exit(status)
    return status


def _train(local_rank: int, named: dict[str, Plan]) -> int:
    logging.getLogger("ignite").setLevel(logging.CRITICAL)  # errors are said in one line by the command
    with sessions_of(named) as sessions:
        try:
            return train(sessions)
        except UserError as error:
            error.while_training = True
            raise
