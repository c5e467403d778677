"""Several trainings in one: students that share batches and a teacher's forward pass, each as if it ran alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from ignite_kd.errors import Diverged, RunFailed, UserError
from ignite_kd.plan import Plan
from ignite_kd.session import Session
from ignite_kd.together import run_together

__all__ = ["sessions_of", "train"]


@contextmanager
def sessions_of(named: dict[str, Plan]) -> Iterator[list[Session]]:
    """A session for each plan, beside the first one; the folders are let go of at the end."""
    with ExitStack() as stack:
        sessions: list[Session] = []
        for label, plan in named.items():
            sessions.append(Session(plan, beside=sessions[0] if sessions else None, label=label))
            stack.callback(sessions[-1].close)
        yield sessions


def train(sessions: Sequence[Session]) -> int:
    """Train the students of these sessions to the end or to a stop; returns the exit status.

    One that fails is recorded and told of, and the others go on.
    """
    failures: list[Session] = []

    def failed(session: Session, error: Exception) -> None:
        if not isinstance(error, RunFailed):
            raise error
        told = session.failed(error)
        # what one process alone knows of, a full disk, the others cannot follow
        if len(sessions) == 1 or (session.processes > 1 and not isinstance(error, Diverged)):
            raise told from None
        session.say(f"failed: {told}")
        failures.append(session)

    try:
        begun = [session for session in sessions if session.begin()]
        for session in begun:
            known = {Path(folder).name: folder for folder in session.before.get("classmates", [])}
            known |= {other.folder.name: str(other.folder) for other in sessions if other is not session}
            session.note(classmates=list(known.values()))
        ready = []
        with sessions[0].stopping as stopping:
            for session in begun:
                try:
                    stopped = stopping.was_asked()
                    if session.steps_left > 0 and not stopped and session.first_stages_are_done():
                        ready.append(session)
                except RunFailed as error:
                    failed(session, error)
            _learn(ready, failed)
    finally:
        for session in sessions:
            session.console.close()
    status = 0
    for session in begun:
        if session not in failures:
            try:
                status = max(status, session.finish())
            except (OSError, RunFailed, UserError) as error:  # a full disk: all is trained, and the end can be redone
                if len(sessions) == 1 or session.processes > 1:
                    raise
                session.say(f"failed: {error}; {session.plan.how_to_go_on}")
                failures.append(session)
    if failures:
        names = ", ".join(session.label for session in failures)
        told = f"{len(failures)} of {len(sessions)} students failed: {names}; the others went on."
        if not status:
            raise RunFailed(told)
        sessions[0].say(f"warning: {told}")  # these were stopped, and can be gone on with
    return status


def _learn(sessions: Sequence[Session], failed: Callable[[Session, Exception], None]) -> None:
    if len(sessions) == 1:  # needs no pauses
        (session,) = sessions
        try:
            session.student.run(session.data.train, max_epochs=session.plan.max_epochs)
        except RunFailed as error:
            failed(session, error)
    elif sessions:
        owners = {session.student: session for session in sessions}
        loader, epochs = sessions[0].data.train, sessions[0].plan.max_epochs
        run_together(list(owners), loader, epochs, failed=lambda student, error: failed(owners[student], error))
