"""The numbers that tables print and claims compare: names, units, digits, where they are read.

A new metric is one entry. Importable without torch and without pandas.
"""

import math
from dataclasses import dataclass
from typing import Any

from samscope.digests import Registry


@dataclass(frozen=True)
class Metric:
    """A number of a record.

    Attributes:
        title: in a sentence.
        symbol: on an axis, in a heading; the title where there is none.
        unit: of differences: ``points`` of a percentage, or "".
        digits: after the point, as tables show it.
        high: how much it can be at most; none is below ``low``.
        low: how much it is at least.
        better: 1 where more is better, -1 where less is, 0 where neither.
        factors: whether runs differ by factors: averaged as logarithms, compared as a ratio.
        stage: whose record holds it.
        read: its name there; its own where there is none.
        of_hundred: whether it is 100 minus what is read, as an error of an accuracy.
        less: a name in the record whose number is taken from what is read.
    """

    title: str
    symbol: str = ""
    unit: str = ""
    digits: int = 3
    high: float = math.inf
    low: float = 0.0
    better: int = 0
    factors: bool = False
    stage: str = "train"
    read: str = ""
    of_hundred: bool = False
    less: str = ""

    @property
    def reads(self) -> tuple[str, ...]:
        """Names of the record that it needs, where its own name is none of them."""
        return tuple(name for name in (self.read, self.less) if name)

    def scaled(self, value: float) -> float:
        """On the scale that runs scatter on: its logarithm where they differ by factors.

        NaN where that is none.
        """
        if not self.factors:
            return value
        return math.log(value) if value > 0 else math.nan

    def unscaled(self, value: float) -> float:
        """Back from that scale; of a difference on it, a ratio where runs differ by factors."""
        return math.exp(value) if self.factors else value


def _percent(
    title: str, better: int = 1, read: str = "", of_hundred: bool = False, stage: str = "train"
) -> Metric:
    of = (title, "", "points", 2, 100.0)
    return Metric(*of, better=better, stage=stage, read=read, of_hundred=of_hundred)


def _step(title: str) -> Metric:
    return Metric(title, digits=0, better=-1, factors=True)


def _of_hessian(title: str, symbol: str, factors: bool = True, low: float = 0.0) -> Metric:
    return Metric(title, symbol, better=-1, low=low, factors=factors, stage="curvature")


def _of_fit(title: str, read: str) -> Metric:
    return Metric(title, better=-1, factors=True, stage="fit", read=read)


def _of_drift(title: str, read: str) -> Metric:
    words = f"{title}, once the training set is learned"
    return Metric(words, read, digits=2, low=-math.inf, stage="drift", read=read)


def _of_curve(quantity: str, title: str, unit: str = "") -> dict[str, Metric]:
    words = {"min": "lowest", "max": "highest", "mean": "mean", "along": "mean over the length,"}
    words["barrier"] = "barrier,"
    about: dict[str, Any] = {"unit": unit, "better": -1, "stage": "curve"}
    about |= {"digits": 2, "high": 100.0} if unit else {}
    return {f"{at}_{quantity}": Metric(f"{word} {title}", **about) for at, word in words.items()}


M = (1, 4, 16, 64, 256)
"""Samples that climb together, of Foret et al.'s m-sharpness."""


def _of_shift(shift: str, title: str) -> dict[str, Metric]:
    read, drop = f"{shift}_acc_percent", (f"accuracy less that on {title}", "", "points", 2)
    return {
        f"{shift}_loss": Metric(f"loss on {title}", better=-1, stage="shifts"),
        f"{shift}_error_percent": _percent(f"error on {title}", -1, read, True, "shifts"),
        f"{shift}_drop": Metric(
            *(*drop, 100.0, -100.0, -1), stage="shifts", read="clean_acc_percent", less=read
        ),
    }


METRICS: Registry[str, Metric] = {
    "test_acc_percent": _percent("accuracy"),
    "test_loss": Metric("loss", better=-1),
    "val_acc_percent": _percent("validation accuracy"),
    "val_loss": Metric("validation loss", better=-1),
    "train_acc_percent": _percent("training accuracy"),
    "train_loss": Metric("training loss", better=-1),
    "test_error_percent": _percent("error", -1, read="test_acc_percent", of_hundred=True),
    "top5_error_percent": _percent("top-5 error", -1, read="top5_acc_percent", of_hundred=True),
    "highest_test_acc_percent": _percent("highest accuracy of all epochs"),
    # what overfitting is told by
    "gap_loss": Metric(
        "loss less training loss", better=-1, low=-math.inf, read="test_loss", less="train_loss"
    ),
    "gap_acc_percent": Metric(
        "training accuracy less accuracy",
        *("", "points", 2, 100.0, -100.0, -1),
        read="train_acc_percent",
        less="test_acc_percent",
    ),
    # of a fit, see `samscope.stages.fit`; at the threshold seeds differ by factors
    "fit_error_percent": _percent("error", -1, "test_error_percent", stage="fit"),
    "fit_loss": _of_fit("squared loss", "test_loss"),
    "fit_norm": _of_fit("norm of the coefficients", "norm"),
    "fit_train_error_percent": _percent("training error", -1, "train_error_percent", stage="fit"),
    "fit_train_loss": Metric("squared training loss", better=-1, stage="fit", read="train_loss"),
    # of a budget in steps, see `samscope.train.learned`
    "train_95_step": _step("step of 95 % training accuracy"),
    "held_out_50_step": _step("step of 50 % held-out accuracy"),
    "held_out_90_step": _step("step of 90 % held-out accuracy"),
    "delay": Metric(
        "step of 90 % held-out over that of 95 % training accuracy", "delay", factors=True, digits=1
    ),
    # of weights after the training set is learned, see `samscope.stages.drift`
    "drift_exponent": _of_drift("exponent of the distance over the steps", "exponent"),
    "drift_cosine": _of_drift("mean cosine between a move and the next", "cosine"),
    # of the loss around the last weights, see `samscope.stages.rise`
    "rise": Metric(
        *("mean rise of the training loss over filter-normalised directions", "mean rise"),
        better=-1,
        factors=True,
        stage="rise",
    ),
    # of the Hessian of the training loss, see `samscope.measure.flatness`
    "lambda_max": _of_hessian("largest eigenvalue", "λ max"),
    # the same for weights that a rescaling of layers before a normalisation makes from others
    "scale_free": _of_hessian("largest eigenvalue times squared norm of the weights", "λ max |w|²"),
    "leading_ratio": _of_hessian("largest over k-th largest", "λ 1 / λ k"),
    "trace": _of_hessian("trace", "trace"),
    "lambda_min": _of_hessian("smallest eigenvalue", "λ min", factors=False, low=-math.inf),
    "asymmetry": _of_hessian("|largest over smallest|", "|λ max / λ min|"),
    "worst_case": _of_hessian("largest rise within rho", "worst-case sharpness"),
    "average_case": _of_hessian("mean rise at rho", "average-case sharpness"),
    "filtered_case": _of_hessian(
        "mean rise over filter-normalised directions", "filter-normalised sharpness"
    ),
    "pooled_max": _of_hessian("mean of mini-batches' largest", "pooled λ max"),
    "pooled_mean": _of_hessian("mean of the positive top n", "pooled mean"),
    "batch_asymmetry": _of_hessian(
        "|largest over smallest| of a mini-batch", "|λ max / λ min| of a batch"
    ),
    # of a path between two solutions, see `samscope.stages.curve`; the objective is the training
    # loss with weight decay
    "bend": Metric(
        "distance of the bend from the line of the ends, over theirs", stage="curve", low=0.0
    ),
    **_of_curve("objective", "training loss with decay"),
    **_of_curve("train_loss", "training loss on the path"),
    **_of_curve("train_error_percent", "training error on the path", "points"),
    **_of_curve("test_loss", "loss on the path"),
    **_of_curve("test_error_percent", "error on the path", "points"),
    # of the last weights, see `samscope.stages.shifts` and `samscope.stages.m_sharpness`
    "clean_loss": Metric("loss of the last weights", better=-1, stage="shifts"),
    "clean_error_percent": _percent(
        "error of the last weights", -1, "clean_acc_percent", of_hundred=True, stage="shifts"
    ),
    **_of_shift("pixel", "images moved by a pixel"),
    **_of_shift("noise", "noisy images"),
    **_of_shift("contrast", "images of low contrast"),
    "last_gap_loss": Metric(
        "loss less training loss, targets as often wrong",
        *("gap", "", 3, math.inf, -math.inf, -1, False, "m_sharpness", "test_loss"),
        less="train_loss",
    ),
    **{
        f"m_sharpness_{m}": Metric(
            f"rise by a step within rho, of {m} at a time",
            *(f"m = {m}", "", 4, math.inf, -math.inf, -1),
            stage="m_sharpness",
        )
        for m in M
    },
    "stretch": Metric("length of the path over the distance of its ends", stage="curve", low=1.0),
    "distance": Metric("distance of the ends", stage="curve"),
}


def of_stage(stage: str) -> dict[str, Metric]:
    """The metrics that a stage's record holds, in order."""
    return {name: metric for name, metric in METRICS.items() if metric.stage == stage}
