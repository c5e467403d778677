"""A comparison made by hand."""

import math

from ignite_kd.comparison.agreement import Agreement
from ignite_kd.comparison.calibration import Calibration
from ignite_kd.comparison.result import Alignment, Comparison, Recorded, Row

RECORDED = Recorded("1 ce + 1 kd", 3, 3, 1.25, 0.5, 0.6, 0.55, None)


def row(name, by_class, **changes):
    known = {
        "name": name, "path": f"runs/{name}", "weights": f"{name}.th", "model": "wrn_16_1", "parameters": 175066,
        "teacher": "teacher.th", "recorded": RECORDED, "accuracy": 0.5, "by_class": by_class,
        "calibration": Calibration(0.123, 1.5, [0, 4], [math.nan, 0.75], [math.nan, 0.5]),
        "agreement": Agreement(0.8, 0.25, math.nan, 0.3, 0.9),
        "alignment": Alignment("teacher.th", ("a", "b"), ("b", "c"), [[0.1, 0.2], [0.9, math.nan]]),
        "curves": [{"epoch": 1, "train/loss": 2.0}, {"epoch": 2, "train/loss": 1.0}],
    }  # fmt: skip
    return Row(**(known | changes))


def comparison(*rows, classes=("cat", "dog"), reference="one", **changes):
    known = {
        "dataset": "pets", "digest": "0123", "part": "test", "images": 4, "of": 10, "classes": classes,
        "images_by_class": [2] * len(classes), "reference": reference, "rows": rows, "notes": ("look here",),
    }  # fmt: skip
    return Comparison(**(known | changes))
