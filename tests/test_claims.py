import json
import math

import pandas as pd
import pytest

from samscope import InputError
from samscope.analysis import claims
from samscope.analysis.stats import holm, mean_interval
from small_study import RUNS, record, record_all, study

GREATER = {
    "kind": "greater", "metric": "test_acc_percent", "a": "sam", "b": "sgd", "rhos": [0.1, 0.2],
    "direction": "a_above_b",
}  # fmt: skip
SHARE = {"kind": "share", "region": 1, "variant": "sam", "rhos": [0.1], "when": "mean"}
TREND = {
    "kind": "share_trend", "region": 1, "variant": "sam", "rhos": [0.1], "from": "first_epoch",
    "to": "last_epoch", "direction": "rises",
}  # fmt: skip


def claim(**fields: object) -> dict:
    words = {"id": "C1", "quote": "q", "location": "l", "test": "t", "reported": "r"}
    return words | fields


def verdict(root, fields: dict, **accuracies: list[float]) -> pd.Series:
    """The only claim's line; records of the study, those named by variant and rho replaced."""
    plan = study(root, [claim(**fields)])
    record_all(plan)
    for name, values in accuracies.items():
        variant, rho = name.split("_")
        record(plan, f"{RUNS}/{variant}/" + (f"rho=0.{rho}" if rho else "base"), values)
    return claims.evaluate(plan, "geometry_sam").iloc[0]


def test_supported_at_every_rho_tells_the_weakest(tmp_path):
    line = verdict(tmp_path, GREATER, sam_1=[80, 82, 84], sam_2=[81, 82.1, 83])
    assert line.verdict == "supported"
    # Differences to 70, 71, 72: 10, 11, 12 at rho 0.1 and 11, 11.1, 11 at rho 0.2.
    weak = mean_interval([10.0, 11.0, 12.0])
    strong = mean_interval([11.0, 11.1, 11.0])
    assert (line["at"], line.n, line.unit) == ("rho 0.1", 3, "points")
    assert (line.effect, line.ci_low, line.ci_high) == pytest.approx((11.0, weak.low, weak.high))
    assert line.p_holm == pytest.approx(holm([weak.p, strong.p])[0])
    assert line.reason == ""


def test_contradicted_by_one_rho(tmp_path):
    line = verdict(tmp_path, GREATER, sam_2=[60, 61.1, 62])
    assert (line.verdict, line["at"]) == ("contradicted", "rho 0.2")
    assert line.effect < 0


def test_inconclusive_where_the_interval_holds_zero(tmp_path):
    line = verdict(tmp_path, GREATER, sam_2=[60, 71, 90])
    assert line.verdict == "inconclusive"
    assert line.reason == "not significant at rho 0.2 (Holm over 2)"


def test_significant_alone_is_not_enough_among_several(tmp_path):
    """Differences 1, 2, 2.5 have p = 0.053; 1, 1.6, 1.9 have p = 0.030: Holm doubles it."""
    one = GREATER | {"rhos": [0.1]}
    assert mean_interval([1.0, 1.6, 1.9]).p == pytest.approx(0.030, abs=0.001)
    alone = verdict(tmp_path / "one", one, sam_1=[71.0, 72.6, 73.9])
    both = verdict(tmp_path / "two", GREATER, sam_1=[71, 72.6, 73.9], sam_2=[71, 72.6, 73.9])
    assert (alone.verdict, both.verdict) == ("supported", "inconclusive")
    assert both.ci_low > 0


def test_below_is_the_other_side(tmp_path):
    line = verdict(tmp_path, GREATER | {"direction": "a_below_b", "rhos": [0.1]})
    assert (line.verdict, line.effect) == ("contradicted", 11.0)
    swapped = verdict(tmp_path, GREATER | {"a": "sgd", "b": "sam", "direction": "a_below_b"})
    assert (swapped.verdict, swapped.effect) == ("supported", -11.0)


def test_one_seed_decides_nothing(tmp_path):
    line = verdict(tmp_path, GREATER | {"rhos": [0.1]}, sam_1=[99.0])
    assert (line.verdict, line.n, line.effect) == ("inconclusive", 1, 29.0)
    assert math.isnan(line.ci_low)
    assert line.reason == "no interval at rho 0.1: one seed"


def test_a_diverged_loss_decides_nothing(tmp_path):
    plan = study(tmp_path, [claim(**GREATER | {"metric": "test_loss", "rhos": [0.1]})])
    record_all(plan)
    record(plan, f"{RUNS}/sam/rho=0.1", [10.0, 11.0, 12.0], [None, 9.0, 9.0])
    line = claims.evaluate(plan, "geometry_sam").iloc[0]
    assert (line.verdict, line.reason) == ("inconclusive", "no interval at rho 0.1: a diverged run")


def test_not_run(tmp_path):
    plan = study(tmp_path, [claim(**GREATER | {"rhos": [0.1, 0.4]})])
    line = claims.evaluate(plan, "geometry_sam").iloc[0]
    assert line.verdict == "not run"
    assert line.reason == "no result yet at rho 0.1; not planned at rho 0.4"


def test_a_missing_rho_keeps_a_claim_open_but_not_from_being_contradicted(tmp_path):
    wide = GREATER | {"rhos": [0.1, 0.4]}
    line = verdict(tmp_path / "a", wide)
    assert (line.verdict, line.reason) == ("inconclusive", "not planned at rho 0.4")
    assert verdict(tmp_path / "b", wide, sam_1=[60, 61.1, 62]).verdict == "contradicted"


def test_largest_is_compared_with_every_rival(tmp_path):
    largest = {"kind": "largest", "metric": "test_acc_percent", "variant": "sam",
               "among": ["sam", "ckpt1", "sgd"], "rhos": [0.2]}  # fmt: skip
    line = verdict(tmp_path, largest, sam_2=[79, 80.1, 81])
    # 76, 77, 78 for ckpt1 is the closer rival, 70, 71, 72 for SGD the farther.
    assert (line.verdict, line["at"]) == ("supported", "rho 0.2, ckpt1")
    assert [part["at"] for part in line.parts] == ["rho 0.2, ckpt1", "rho 0.2, sgd"]
    lost = verdict(tmp_path, largest, ckpt1_2=[90, 91.1, 92])
    assert (lost.verdict, lost["at"]) == ("contradicted", "rho 0.2, ckpt1")


def shares(root, fields: dict, values: list[list[float]], printed: bool = True) -> pd.Series:
    """The verdict on the printed model and data, or on a stand-in."""
    own = {"models": {}, "data": {}} if printed else {}
    plan = study(root, [claim(**fields)], **own)
    runs = "geometry_sam/resnet18-cifar100" if printed else RUNS
    record(plan, f"{runs}/sam/rho=0.1", [80.0] * len(values), shares=values)
    return claims.evaluate(plan, "geometry_sam").iloc[0]


@pytest.mark.parametrize(
    ("when", "bounds", "expected", "effect"),
    [
        # Three seeds with means 51, 52, 53; firsts 40, 41, 42; lasts 62, 63, 64.
        ("mean", {"at_least": 45}, "supported", 52.0),
        ("mean", {"at_least": 51}, "inconclusive", 52.0),
        ("mean", {"at_least": 60}, "contradicted", 52.0),
        ("mean", {"at_most": 60}, "supported", 52.0),
        ("first_epoch", {"at_least": 30, "at_most": 50}, "supported", 41.0),
        ("first_epoch", {"at_least": 30, "at_most": 41.5}, "inconclusive", 41.0),
        ("last_epoch", {"at_least": 30, "at_most": 50}, "contradicted", 63.0),
        ("last_epoch", {"at_least": 70, "at_most": 80}, "contradicted", 63.0),
    ],
)
def test_share_against_its_bounds(tmp_path, when, bounds, expected, effect):
    values = [[40.0, 51.0, 62.0], [41.0, 52.0, 63.0], [42.0, 53.0, 64.0]]
    line = shares(tmp_path, SHARE | {"when": when} | bounds, values)
    assert (line.verdict, line.unit) == (expected, "%")
    assert line.effect == pytest.approx(effect)
    assert line.ci_high - line.effect == pytest.approx(mean_interval([1.0, 2.0, 3.0]).half)


@pytest.mark.parametrize("bound", [45, 60])
def test_a_level_is_not_decided_by_a_stand_in(tmp_path, bound):
    line = shares(tmp_path, SHARE | {"when": "mean", "at_least": bound}, [[51.0, 53.0]] * 3, False)
    assert (line.verdict, line.effect) == ("inconclusive", 52.0)
    assert "stand-in" in line.reason


@pytest.mark.parametrize(
    ("direction", "late", "expected"),
    [
        ("rises", [50.0, 51.1, 52.0], "supported"),
        ("falls", [50.0, 51.1, 52.0], "contradicted"),
        ("falls", [30.0, 31.1, 32.0], "supported"),
        ("does_not_fall", [50.0, 51.1, 52.0], "supported"),
        ("does_not_fall", [30.0, 31.1, 32.0], "contradicted"),
        ("does_not_fall", [39.0, 41.0, 43.5], "inconclusive"),
    ],
)
def test_trend_of_a_share_is_paired(tmp_path, direction, late, expected):
    values = [[early, 0.0, end] for early, end in zip([40.0, 41.0, 42.0], late, strict=True)]
    line = shares(tmp_path, TREND | {"direction": direction}, values)
    assert line.verdict == expected
    assert line.effect == pytest.approx(sum(late) / 3 - 41)


def test_curvature_is_a_ratio(tmp_path):
    fields = {
        "kind": "curvature", "metric": "lambda_max", "a": "sam", "b": "sgd", "rhos": [0.1],
        "direction": "a_below_b",
    }  # fmt: skip
    others = [{**fields, "metric": "pooled_mean"}, {**fields, "metric": "lambda_min"}]
    plan = study(tmp_path, [claim(**fields), *(claim(**other) for other in others)])
    record(plan, f"{RUNS}/sgd/base", [70.0] * 3, top=[10.0, 20.0, 40.0])
    record(plan, f"{RUNS}/sam/rho=0.1", [80.0] * 3, top=[1.0, 2.0, 5.0])
    frame = claims.evaluate(plan, "geometry_sam")
    line = frame.iloc[0]
    logs = mean_interval([math.log(0.1), math.log(0.1), math.log(0.125)])
    assert (line.verdict, line.unit, line.n) == ("supported", "ratio", 3)
    found = (line.effect, line.ci_low, line.ci_high)
    assert found == pytest.approx(tuple(map(math.exp, (logs.mean, logs.low, logs.high))))
    # The study's own quantity; and one that may be negative, so a difference.
    pooled, smallest = frame.iloc[1], frame.iloc[2]
    assert (pooled.effect, pooled.unit) == (pytest.approx(line.effect), "ratio")
    gap = mean_interval([0.9, 1.8, 3.5])
    assert (smallest.effect, smallest.unit, smallest.verdict) == (
        pytest.approx(gap.mean), "", "inconclusive"
    )  # fmt: skip


def test_planned_is_not_run_and_says_what_is_missing(tmp_path):
    line = verdict(tmp_path, {"kind": "planned", "missing": "an experiment"})
    assert (line.verdict, line.reason) == ("not run", "an experiment")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"kind": "bigger"}, "kind: bigger"),
        ({k: v for k, v in GREATER.items() if k != "rhos"}, "rhos: (missing)"),
        (GREATER | {"colour": "red"}, "colour: an unknown key"),
        (GREATER | {"direction": "up"}, "direction: up"),
        (GREATER | {"metric": "speed"}, "metric: speed"),
        (SHARE | {"region": 5}, "region: 5"),
    ],
)
def test_a_malformed_claim_is_named(tmp_path, fields, message):
    plan = study(tmp_path, [claim(**fields)])
    with pytest.raises(InputError) as error:
        claims.load(plan, "geometry_sam")
    assert "claims.yaml C1" in str(error.value)
    assert message in str(error.value)


def test_files_hold_the_verdicts(tmp_path):
    plan = study(tmp_path, [claim(**GREATER), claim(kind="planned", missing="m", id="C2")])
    record_all(plan)
    files = [plan.results / f"claims/geometry_sam.{end}" for end in ("json", "csv")]
    claims.write(plan, "geometry_sam")
    written = [path.read_bytes() for path in files]
    first, second = json.loads(written[0])["claims"]
    assert (first["verdict"], first["parts"][0]["effect"]) == ("supported", 11.0)
    assert (second["verdict"], second["effect"]) == ("not run", None)
    table = pd.read_csv(files[1])
    assert tuple(table.columns) == claims.COLUMNS
    assert list(table.verdict) == ["supported", "not run"]
    claims.write(plan, "geometry_sam")
    assert [path.read_bytes() for path in files] == written
