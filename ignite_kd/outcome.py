"""The end of a run: the test set read once, weights and card written, the result said in a line."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import ignite.distributed as idist
from torch import nn

from ignite_kd.cards import card_of_run
from ignite_kd.errors import UserError
from ignite_kd.handlers import evaluate, plots
from ignite_kd.heads import VID
from ignite_kd.weights import load_weights, save_weights

if TYPE_CHECKING:
    from ignite_kd.session import Session

__all__ = ["conclude"]


def conclude(session: Session) -> str:
    """Evaluate last and best, write what stays, and return the summary that is printed."""
    plan, record = session.plan, session.record
    student = session.student
    results: dict[str, Any] = {}
    if session.best is not None and session.data.validation is not None:
        validated = student.state.metrics or (record.read() or [{}])[-1]
        last = validated.get("validation/accuracy")
        if last is None:  # a longer training was planned, in which nothing was measured at this epoch
            last = evaluate(session.model, session.data.validation, session.device, session.precision)["accuracy"]
        results["validation"] = {"last": last, "best": max(last, session.best.accuracy)}
        results["best_epoch"] = session.best.epoch
    test = session.data.test if session.recipe.test_at_end else None
    if test is not None:
        _save(session, results)  # a test that is cut short costs no weights
        session.say("testing  the last epoch" + (" and the best one" if session.best is not None else ""))
        results["test"] = {"last": evaluate(session.model, test, session.device, session.precision)}
        if session.best is not None and session.best.epoch == plan.max_epochs:
            results["test"]["best"] = results["test"]["last"]  # the same weights
        elif (best := _best_network(session)) is not None:
            results["test"]["best"] = evaluate(best, test, session.device, session.precision)
        if session.tested is not None:
            accuracy, epoch = session.tested.best
            results["test"]["highest"] = {"accuracy": accuracy, "epoch": epoch}
    summary = _summary(results, plan.max_epochs)
    if session.rank > 0:
        return summary
    if plan.state_dict_path:
        _save(session, results)
        summary += f"\nweights  {plan.state_dict_path}"
    record.update(status="finished", results=results, summary=summary, epochs=plan.max_epochs)
    if plots.available():
        curves = session.folder / "plots" / "curves.png"
        plots.attempt(lambda: plots.plot_curves({plan.student: record.read()}, curves), session.say)
    return summary


def _save(session: Session, results: dict[str, Any]) -> None:
    path = session.plan.state_dict_path
    if session.rank > 0 or path is None:
        return
    state = {name: tensor.cpu() for name, tensor in session.model.state_dict().items()}
    vid = next((head for head in session.student.heads.values() if isinstance(head, VID)), None)
    if session.recipe.student_file == "released" and vid is not None:
        state = {name: tensor.cpu() for name, tensor in vid.released_layout(state).items()}
    card = card_of_run(session.record.load() | {"results": results}, session.folder)
    save_weights(path, state, card)


def _best_network(session: Session) -> nn.Module | None:
    """The network of the best epoch; None where nothing was validated, or its file was damaged since."""
    idist.barrier()
    if session.best is None or not session.best.path.exists():
        return None
    model = session.build_model(session.plan.student)  # a copy would keep a compiled method of the last one
    try:
        load_weights(model, session.best.path)
    except UserError as error:
        warnings.warn(f"the best epoch is not tested: {error}", stacklevel=2)
        return None
    return model


def _summary(results: dict[str, Any], epochs: int) -> str:
    parts = []
    for name in ("validation", "test"):
        found = results.get(name)
        if found:
            last, best = (v["accuracy"] if isinstance(v, dict) else v for v in (found["last"], found.get("best")))
            top5 = f", last top-5 {found['last']['top5']:.2%}" if isinstance(found["last"], dict) else ""
            chosen = "" if best is None else f", best {best:.2%} (epoch {results['best_epoch']}, chosen on validation)"
            highest = found.get("highest")
            peak = "" if highest is None else f", highest {highest['accuracy']:.2%} (epoch {highest['epoch']})"
            parts.append(f"{name} accuracy: last {last:.2%} (epoch {epochs}){chosen}{top5}{peak}")
    return "result   " + "; ".join(parts) if parts else "result   trained; no test or validation was asked for"
