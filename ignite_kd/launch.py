"""One process or several: the same training."""

from __future__ import annotations

import logging
import os
import socket
import sys

import ignite.distributed as idist
import torch

from ignite_kd.errors import RunFailed, UserError
from ignite_kd.plan import Plan

__all__ = ["free_port", "launch"]


def launch(plan: Plan) -> int:
    """Run a plan here, in `plan.processes` processes, or in those that torchrun started; returns the exit status."""
    started_by_torchrun = int(os.environ.get("WORLD_SIZE", "1"))
    if plan.processes == 1 and started_by_torchrun == 1:
        return _train(0, plan)
    logging.disable(logging.INFO)  # ignite's launcher tells how it launches
    logging.getLogger("torch.multiprocessing.spawn").setLevel(logging.ERROR)  # and torch's whom it ends after an error
    backend = "nccl" if torch.cuda.is_available() and plan.device != "cpu" else "gloo"
    if started_by_torchrun > 1:
        with idist.Parallel(backend=backend) as parallel:
            return parallel.run(_worker, plan)
    try:
        here = {"master_addr": "127.0.0.1", "master_port": free_port()}  # ignite's own is one for all runs of a machine
        with idist.Parallel(backend=backend, nproc_per_node=plan.processes, **here) as parallel:
            parallel.run(_worker, plan)
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


def _worker(local_rank: int, plan: Plan) -> int:
    """Errors become the exit status; what all processes find is said once, a damaged image by the one that met it."""
    try:
        status = _train(local_rank, plan)
    except (UserError, RunFailed, OSError) as error:
        if idist.get_rank() == 0 or (isinstance(error, UserError) and error.while_training):
            print(f"error: {error}", file=sys.stderr, flush=True)
        status = 2 if isinstance(error, UserError) else 1
    if status:
        sys.exit(status)
    return status


def _train(local_rank: int, plan: Plan) -> int:
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
