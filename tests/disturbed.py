"""`train_without_transfer.py` on few images, with a signal at a step. A script: torchrun and spawned processes run it.

The environment says which: DISTURB="KILL 1 6" kills rank 1 at its sixth step, once; "TERM parent 6" asks the process
that started the others to stop, "TERM all 6" all of them; "FULL 1 6" is a full GPU. The processes leave their numbers
in the file `pids`.
"""

import os
import signal
import sys
from pathlib import Path


def prepare():
    import torch
    from ignite.engine import Events

    from ignite_kd.session import Session

    attach = Session._attach_handlers

    def attach_and_disturb(session):
        attach(session)
        with open("pids", "a") as file:
            file.write(f"{os.getpid()}\n")
        name, whom, step = os.environ.get("DISTURB", "none none 0").split()
        if session.rank == (int(whom) if whom.isdigit() else 0 if whom in ("parent", "all") else -1):

            def disturb():
                if not Path("disturbed").exists():
                    Path("disturbed").touch()
                    if name == "FULL":
                        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 is full.")
                    workers = [int(pid) for pid in Path("pids").read_text().split()]
                    pids = {"parent": [os.getppid()], "all": [os.getppid(), *workers]}.get(whom, [os.getpid()])
                    for pid in pids:
                        os.kill(pid, signal.Signals[f"SIG{name}"])

            session.student.add_event_handler(Events.ITERATION_STARTED(once=int(step)), disturb)

    Session._attach_handlers = attach_and_disturb


if __name__ != "__main__" or "LOCAL_RANK" in os.environ:  # a process that trains
    prepare()

if __name__ == "__main__":
    from ignite_kd.cli import run
    from ignite_kd.cli.train_without_transfer import command

    sys.exit(run(command))
