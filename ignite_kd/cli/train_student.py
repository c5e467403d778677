"""Train a student of the benchmark, with the flags of RepDistiller and ITRD."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ignite_kd.cli.benchmark import benchmark_options, prepared, recipe_of
from ignite_kd.cli.options import command_line, given, option
from ignite_kd.cli.training import TrainingCommand, plan_of
from ignite_kd.errors import UserError

if TYPE_CHECKING:
    from ignite_kd.plan import Plan

__all__ = ["command"]


@click.command("train-student", cls=TrainingCommand)
@option(
    "--path_t",
    group="Networks",
    metavar="FILE",
    required=True,
    help="The trained teacher; its model is read from the file, else from the folder's name.",
)
@option("--model_t", group="Networks", metavar="NAME", help="The teacher's model, where neither tells it.")
@option("--model_s", group="Networks", default="resnet8", metavar="NAME", help="The student's model.")
@option("--path_s", group="Networks", metavar="FILE", help="Weights that the student starts from.")
@option(
    "--distill",
    group="Loss",
    metavar="METHOD",
    help="Any of `ignite-kd list methods`; RepDistiller's words too (hint, attention, similarity, …)."
    "  [default: itrd, unless there is a --loss]",
)
@option("-r", "--r", "--gamma", "gamma", group="Loss", default=1.0, help="Weight of the cross-entropy.")
@option("-a", "--alpha", group="Loss", type=float, help="Weight of KD; needed by kd.  [default: 0]")
@option(
    "-b", "--b", "--beta", "beta", group="Loss", type=float, help="Weight of the method; needed by every other one."
)
@option("--loss", group="Loss", multiple=True, metavar="NAME:FACTOR[,option=value…]", help="One more term, repeatable.")
@option("--kd_T", "kd_temperature", group="Loss", default=4.0, help="Temperature of KD.")
@option("--lambda_corr", group="ITRD", default=2.0, help="Weight of its correlation loss.")
@option("--lambda_mutual", group="ITRD", default=0.05, help="Weight of its mutual information loss.")
@option("--alpha_it", group="ITRD", default=1.5, help="Order α of Rényi's entropy in it.")
@option("--feat_dim", group="CRD, WCoRD", default=128, type=click.IntRange(1), help="Width of the projections.")
@option(
    "--mode",
    group="CRD, WCoRD",
    default="exact",
    type=click.Choice(["exact", "relax"]),
    help="exact: an image's positive is itself; relax: any of its class.",
)
@option("--nce_k", group="CRD, WCoRD", default=16384, type=click.IntRange(1), help="Negatives an image.")
@option("--nce_t", group="CRD, WCoRD", default=0.07, help="Temperature of the scores.")
@option("--nce_m", group="CRD, WCoRD", default=0.5, help="Momentum of the memory banks.")
@option(
    "--hint_layer",
    group="FitNet",
    type=click.IntRange(0, 4),
    help="Learn from this stage: 0 the stem, 1 layer1, ….  [default: 2]",
)
@option("--init_epochs", group="AB, FT, FSP", type=click.IntRange(0), help="Epochs of the first stage.  [default: 30]")
@benchmark_options("one under ./save/student_model/", trial="1")
def command(
    path_t: str, model_t: str | None, model_s: str, path_s: str | None, loss: tuple[str, ...], **shared: Any
) -> Plan:
    """Train a student on labels and on a trained teacher: γ · CE + α · KD + β · METHOD."""
    from ignite_kd.recipes import crd
    from ignite_kd.terms import Term

    word = shared.pop("distill") or ("" if loss else "itrd")
    method = crd.method_of(word) if word else None
    gamma, alpha, beta = (shared.pop(name) for name in ("gamma", "alpha", "beta"))
    temperature = shared.pop("kd_temperature")
    own: dict[str, dict[str, Any]] = {
        "itrd": {name: shared.pop(name) for name in ("lambda_corr", "lambda_mutual", "alpha_it")},
        "crd": {
            "feature_dim": shared.pop("feat_dim"),
            "mode": shared.pop("mode"),
            "negatives": shared.pop("nce_k"),
            "temperature": shared.pop("nce_t"),
            "momentum": shared.pop("nce_m"),
        },
    }
    own["wcord"] = own["crd"]
    layer = shared.pop("hint_layer")
    if layer is not None:
        own["fitnet"] = {"stages": f"layer{layer}" if layer else "stem"}
    recipe = recipe_of(shared)

    if method == "kd" and alpha is None:
        raise UserError("--distill kd needs -a, the weight of KD (the benchmark: -r 0.1 -a 0.9).")
    from ignite_kd.recognise import teacher_name  # torch is imported here

    teacher = model_t or teacher_name(path_t)
    if method not in ("kd", None) and beta is None:
        cross_entropy, published_term = crd.terms(method, teacher, model_s)
        published = f"-b {published_term.factor:g}" + (
            f" -r {cross_entropy.factor:g}" if cross_entropy.factor != 1 else ""
        )
        raise UserError(f"--distill {method} needs -b, the weight of its loss (published: {published}).")
    terms = [Term("ce", gamma)]
    if alpha:
        terms.append(Term("kd", alpha, {"temperature": temperature}))
    if method not in ("kd", None):
        _, published_term = crd.terms(method, teacher, model_s)
        terms.append(Term(method, beta, published_term.options | own.get(method, {}), published_term.warm_up))
    terms += [Term.read(word) for word in loss]

    dataset, trial = shared["dataset"], shared["trial"]
    weights = f"r-{gamma}_a-{alpha or 0.0}_b-{beta or 0.0}_{trial}"
    name = f"S-{model_s}_T-{teacher}_{dataset}_{method or 'loss'}_{weights}"
    if method == "itrd":  # ITRD names its folders so
        itrd = "l_corr-{lambda_corr}_l_mutual-{lambda_mutual}_alpha-{alpha_it}".format(**own["itrd"])
        name = f"S-{model_s}_T-{teacher}_{dataset}_r-{gamma}_b-{beta}_{trial}_{itrd}"
    # what the originals' names leave out
    left_out = ("loss", "hint_layer", "kd_temperature", "path_s", *_MEMORY)
    if any(map(given, left_out)) or (method == "itrd" and given("alpha")):
        told = repr([terms, path_s]) if path_s else repr(terms)
        name += f"_{hashlib.sha256(told.encode()).hexdigest()[:8]}"
    return plan_of(
        prepared(shared, Path("save") / "student_model" / name.replace(":", "-"), model_s) | {"recipe": recipe},
        student=model_s,
        student_path=path_s,
        teacher=teacher,
        teacher_path=path_t,
        terms=tuple(term for term in terms if term.factor),
        command=command_line(),
    )


_MEMORY = ("feat_dim", "mode", "nce_k", "nce_t", "nce_m")
