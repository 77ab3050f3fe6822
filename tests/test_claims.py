import json
import math
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import yaml

from samscope import InputError
from samscope.analysis import claims, verdicts
from samscope.analysis.comparisons import Records
from samscope.analysis.stats import holm, mean_interval
from samscope.analysis.view import View
from samscope.plan.load import load_plan
from samscope.plan.types import Plan
from small_claims import GREATER, SHARE, TREND, claim
from small_study import HEADER, OWN, REAL, RUNS, record, record_all, study, write_study


def verdict(root, fields: dict, **accuracies: list[float]) -> pd.Series:
    """The only claim's line; records of the study, those named by variant and rho replaced."""
    plan = study(root, [claim(**fields)])
    record_all(plan)
    for name, values in accuracies.items():
        variant, rho = name.split("_")
        record(plan, f"{RUNS}/{variant}/" + (f"rho=0.{rho}" if rho else "base"), values)
    return verdicts.evaluate(plan, "geometry_sam").iloc[0]


def test_supported_at_every_rho_tells_the_weakest(tmp_path):
    line = verdict(tmp_path, GREATER, sam_1=[80, 82, 84], sam_2=[75, 76.1, 77.2])
    assert line.verdict == "supported"
    # Differences to 70, 71, 72: 10, 11, 12 at rho 0.1; 5, 5.1, 5.2 at rho 0.2, less but surer.
    weak, strong = mean_interval([10.0, 11.0, 12.0]), mean_interval([5.0, 5.1, 5.2])
    assert (line["at"], line.n, line.unit) == ("rho 0.1", 3, "points")
    assert (line.effect, line.ci_low, line.ci_high) == pytest.approx((11.0, weak.low, weak.high))
    assert (line.p, line.p_holm) == pytest.approx((weak.p, holm([weak.p, strong.p])[0]))
    assert line.reason == ""


def test_contradicted_by_one_rho(tmp_path):
    line = verdict(tmp_path, GREATER, sam_2=[60, 61.1, 62])
    assert (line.verdict, line["at"]) == ("contradicted", "rho 0.2")
    assert line.effect < 0


def test_inconclusive_where_the_interval_holds_zero(tmp_path):
    line = verdict(tmp_path, GREATER, sam_2=[60, 71, 90])
    assert line.verdict == "inconclusive"
    assert line.reason.startswith("not significant at rho 0.2; ")


def test_what_must_hold_everywhere_is_not_corrected(tmp_path):
    """Differences 1, 1.6, 1.9 have p = 0.030 at both rhos: Holm's 0.060 would take power alone."""
    assert mean_interval([1.0, 1.6, 1.9]).p == pytest.approx(0.030, abs=0.001)
    line = verdict(tmp_path, GREATER, sam_1=[71, 72.6, 73.9], sam_2=[71, 72.6, 73.9])
    assert line.verdict == "supported"
    assert (line.p, line.p_holm) == pytest.approx((0.030, 0.060), abs=0.001)


def test_what_need_be_so_only_once_is_corrected(tmp_path):
    """Differences -1, -1.6, -1.9 contradict a claim of one rho, but not one of two."""
    below = [69.0, 69.4, 70.1]
    alone = verdict(tmp_path / "one", GREATER | {"rhos": [0.1]}, sam_1=below)
    both = verdict(tmp_path / "two", GREATER, sam_1=below, sam_2=[71, 72.6, 75])
    assert (alone.verdict, both.verdict) == ("contradicted", "inconclusive")
    assert both.reason.startswith("not significant at rho 0.1, rho 0.2 (Holm over 2); ")


def test_below_is_the_other_side(tmp_path):
    line = verdict(tmp_path, GREATER | {"direction": "a_below_b", "rhos": [0.1]})
    assert (line.verdict, line.effect) == ("contradicted", 11.0)
    swap = {"a": "sgd", "b": "sam", "direction": "a_below_b", "rhos": [0.1]}
    swapped = verdict(tmp_path, GREATER | swap)
    assert (swapped.verdict, swapped.effect) == ("supported", -11.0)


def test_one_seed_decides_nothing(tmp_path):
    line = verdict(tmp_path, GREATER | {"rhos": [0.1]}, sam_1=[99.0])
    assert (line.verdict, line.n, line.effect) == ("inconclusive", 1, 29.0)
    assert math.isnan(line.ci_low)
    assert line.reason == "one seed, no interval at rho 0.1"


def test_why_there_is_no_interval_is_told_of_each_rho(tmp_path):
    line = verdict(tmp_path, GREATER, sam_1=[80, 82, 84], sam_2=[99.0])
    assert (line.verdict, line.reason) == ("inconclusive", "one seed, no interval at rho 0.2")
    equal = verdict(tmp_path / "equal", GREATER | {"rhos": [0.2]}, sam_2=[81.3, 82.3, 83.3])
    assert (equal.verdict, equal.effect) == ("inconclusive", pytest.approx(11.3))
    assert equal.reason == "the same in all seeds, no interval at rho 0.2"
    assert math.isnan(equal.ci_low)


@pytest.mark.parametrize("metric", ["test_loss", "test_acc_percent"])
@pytest.mark.parametrize("lost", [0.1, 0.2])
def test_a_diverged_run_decides_nothing(tmp_path, metric, lost):
    """Its accuracy is that of the class it names for all images; the other rho is shown."""
    plan = study(tmp_path, [claim(**GREATER | {"metric": metric})])
    record_all(plan)
    for rho in (0.1, 0.2):
        losses = [None if rho == lost else 9.5, 9.0, 9.1]
        record(plan, f"{RUNS}/sam/rho={rho}", [10.0, 11.1, 12.0], losses)
    line = verdicts.evaluate(plan, "geometry_sam").iloc[0]
    if metric == "test_loss":  # above, as claimed
        assert line.verdict == "inconclusive"
        assert line.reason == f"a value that is not finite at rho {lost}"
    else:  # the other rho is below
        assert line.verdict == "contradicted"
    assert line["at"] == f"rho {0.3 - lost:.1f}"
    assert math.isfinite(line.effect)


def test_not_run(tmp_path):
    plan = study(tmp_path, [claim(**GREATER | {"rhos": [0.1, 0.4]})])
    line = verdicts.evaluate(plan, "geometry_sam").iloc[0]
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
    plan = study(root, [claim(**fields)], **OWN if printed else {})
    runs = REAL if printed else RUNS
    record(plan, f"{runs}/sam/rho=0.1", [80.0] * len(values), shares=values)
    return verdicts.evaluate(plan, "geometry_sam").iloc[0]


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
    line = shares(
        tmp_path, SHARE | {"when": "mean", "at_least": bound}, [[51.0], [52.0], [53.0]], False
    )
    assert (line.verdict, line.effect) == ("not comparable", 52.0)
    assert "cnn3 on digits is a stand-in for RN18 on CIFAR-100" in line.reason


def test_a_level_is_not_decided_by_a_shorter_training(tmp_path):
    fields = SHARE | {"at_least": 45}
    plan = study(tmp_path, [claim(**fields)], **OWN | {"protocol": {"epochs": 30}})
    record(plan, f"{REAL}/sam/rho=0.1", [80.0] * 3, shares=[[51.0], [52.0], [53.0]])
    line = verdicts.evaluate(plan, "geometry_sam").iloc[0]
    assert (line.verdict, line.effect) == ("not comparable", 52.0)
    assert "epochs 30 in place of 200" in line.reason


@pytest.mark.parametrize(
    ("direction", "late", "expected"),
    [
        ("rises", [50.0, 51.1, 52.0], "supported"),
        ("falls", [50.0, 51.1, 52.0], "contradicted"),
        ("falls", [30.0, 31.1, 32.0], "supported"),
        ("rises", [30.0, 31.1, 32.0], "contradicted"),
        # Within a point of no fall: a rise, no change, half a point; then a point and a half.
        ("does_not_fall", [50.0, 51.1, 52.0], "supported"),
        ("does_not_fall", [40.1, 40.9, 42.0], "supported"),
        ("does_not_fall", [39.5, 40.4, 41.6], "supported"),
        ("does_not_fall", [38.4, 39.5, 40.6], "contradicted"),
        ("does_not_fall", [38.0, 40.0, 42.5], "inconclusive"),
    ],
)
def test_trend_of_a_share_is_paired(tmp_path, direction, late, expected):
    values = [[early, 0.0, end] for early, end in zip([40.0, 41.0, 42.0], late, strict=True)]
    margin = {"margin": 1} if direction == "does_not_fall" else {}
    line = shares(tmp_path, TREND | {"direction": direction} | margin, values)
    assert line.verdict == expected
    assert line.effect == pytest.approx(sum(late) / 3 - 41)


def test_halves_of_training(tmp_path):
    values = [[40.0, 42.0, 50.0, 60.0, 70.0], [41.0, 45.0, 50.0, 62.0, 69.0]]
    fields = TREND | {"early": "first_half", "late": "second_half"}
    # Of five epochs the first two and the last three.
    assert shares(tmp_path, fields, values).effect == pytest.approx((60 - 41 + 181 / 3 - 43) / 2)


def test_a_factor_follows_the_variant_s_name(tmp_path):
    fields = GREATER | {"a": "sameckpt1 condition=2", "b": "sam", "rhos": [0.1]}
    line = verdict(tmp_path, fields)
    assert line.effect == -3.0  # 78, 79, 80 less 80, 82, 84
    assert verdict(tmp_path / "half", fields | {"a": "sameckpt1 condition=0.5"}).effect == -2.0


def test_curvature_is_a_ratio(tmp_path):
    fields = {
        "kind": "greater", "metric": "lambda_max", "a": "sam", "b": "sgd", "rhos": [0.1],
        "direction": "a_below_b",
    }  # fmt: skip
    others = {"C2": {"metric": "pooled_mean"}, "C3": {"metric": "lambda_min"}}
    more = [claim(id=name, **fields | other) for name, other in others.items()]
    plan = study(tmp_path, [claim(**fields), *more])
    record(plan, f"{RUNS}/sgd/base", [70.0] * 3, top=[10.0, 20.0, 40.0])
    record(plan, f"{RUNS}/sam/rho=0.1", [80.0] * 3, top=[1.0, 2.0, 5.0])
    frame = verdicts.evaluate(plan, "geometry_sam")
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


def other_paper(
    root: Path, keys: dict, rows: str, more: str = "", **file: object
) -> Callable[..., Plan]:
    """Write another paper beside the study, of one table, T1, and claims; how its plan is loaded.

    Its models are RN18, here cnn3, and those of ``keys``, here cnn5.
    """
    study(root)
    folder = write_study(root, name="other", tables={}, stages={})
    about = yaml.safe_load((folder / "paper.yaml").read_text())
    about |= {"tables": {"T1": about["tables"]["T1"]}, "figures": []}
    about["keys"]["model"] |= keys
    scale = yaml.safe_load((folder / "scale/tiny.yaml").read_text())
    scale["stand_ins"]["model"] |= {"resnet34": "cnn5"} if keys else {}
    for name, content in (("paper", about), ("scale/tiny", scale), ("claims", file)):
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(content))
    (folder / "reported/T1.csv").write_text(f"{HEADER.rstrip()}{more}\n{rows}")

    def load(*papers: str, **also: object) -> Plan:
        plan = load_plan({"profile": "tiny", "papers": papers or ["other"], **also}, root)
        claims.check(plan)
        return plan

    return load


ROW = "{model},CIFAR-100,{column},{variant},{rho},,test_acc_percent,,,,{more}\n"


def row(model: str, variant: str, rho: object = "", more: str = "") -> str:
    column = f"{variant}{more}".replace(",", " ").strip()
    return ROW.format(model=model, column=column, variant=variant, rho=rho, more=more)


PAIRS = "".join(row(m, v, 0.1) for m in ("RN18", "RN34") for v in ("sgd", "sam"))
ONE = GREATER | {"rhos": [0.1]}


def test_papers_and_claims_are_each_about_their_own_cells(tmp_path):
    where = {"model": "resnet34", "data": "cifar100"}
    level = claim(**SHARE | {"id": "C3", "at_least": 10})
    small = claim(**ONE | {"id": "C2", "where": {"model": "resnet18"}})
    of = {"where": where, "claims": [claim(**ONE), small, level]}
    load = other_paper(tmp_path, {"RN34": "resnet34"}, PAIRS, **of)
    first = {"claims": [claim(**ONE | {"direction": "a_below_b"})]}
    (tmp_path / "workflow/papers/geometry_sam/claims.yaml").write_text(yaml.safe_dump(first))
    plan = load("geometry_sam", "other")
    record_all(plan)
    record(plan, "cnn5-digits/sgd/base", [90.0, 91.0, 92.0])
    record(plan, "cnn5-digits/sam/rho=0.1", [85.0, 87.0, 86.0], shares=[[50.0], [51.0], [52.0]])
    (first,) = verdicts.evaluate(plan, "geometry_sam").itertuples()
    assert (first.verdict, first.effect) == ("contradicted", 11.0)
    second, small, level = verdicts.evaluate(plan, "other").itertuples()
    assert (second.verdict, second.effect) == ("contradicted", -5.0)
    assert (small.verdict, small.effect) == ("supported", 11.0)
    assert (level.verdict, level.effect) == ("not comparable", 51.0)
    assert "cnn5 on digits is a stand-in for RN34 on CIFAR-100" in level.reason


def test_what_no_row_has_together_is_refused(tmp_path):
    rows = row("RN18", "sam", 0.1) + row("RN34", "sam", 0.2) + row("RN34", "sam", 0.4)
    of = {"where": {"model": "resnet34", "rho": 0.1}, "claims": [claim(**ONE)]}
    load = other_paper(tmp_path, {"RN34": "resnet34"}, rows, **of)
    message = r"^other/claims.yaml C1: where.rho: 0.1 is not allowed; allowed: 0.2, 0.4$"
    with pytest.raises(InputError, match=message):
        load()
    # It may be a row of a table that is not asked for.
    assert load("geometry_sam", "other", tables=["other/T1"])


def test_claims_may_be_of_cells_that_depart_from_the_protocol(tmp_path):
    # SGD is printed at no rho, and what departs comes first.
    settings = [(v, rho, lr) for v, rho in (("sgd", ""), ("sam", 0.1)) for lr in ("0.2", "")]
    rows = "".join(row("RN18", v, rho, f",{lr}") for v, rho, lr in settings)
    pairs = {"C1": {}, "C2": {"where": {"lr": 0.2}}, "C3": {"b": "sgd lr=0.2"},
             "C4": {"where": {"epochs": 200}}}  # fmt: skip
    of = {"claims": [claim(**ONE | {"id": name} | more) for name, more in pairs.items()]}
    plan = other_paper(tmp_path, {}, rows, ",lr", **of)()
    cells = {"sgd/base": 1.0, "sgd/lr=0.2": 2.0, "sam/rho=0.1": 5.0, "sam/rho=0.1,lr=0.2": 50.0}
    for cell, value in cells.items():
        record(plan, f"{RUNS}/{cell}", [value, value + 1, 2 * value])
    effects = verdicts.evaluate(plan, "other").set_index("id").effect
    assert dict(effects) == pytest.approx({"C1": 16 / 3, "C2": 64.0, "C3": 4.0, "C4": 16 / 3})


def test_of_several_cells_it_is_the_better_as_it_was_printed(tmp_path):
    keys = {"RN34": {"model": "resnet34", "choose": {"epochs": [2, 4]}}}
    of = {"where": {"model": "resnet34"}, "claims": [claim(**ONE)]}
    plan = other_paper(tmp_path, keys, PAIRS, **of)()
    for epochs, sgd, sam in ((2, 50.0, 70.0), (4, 60.0, 65.0)):
        record(plan, f"cnn5-digits/sgd/epochs={epochs}", [sgd, sgd + 1, sgd + 2])
        record(plan, f"cnn5-digits/sam/rho=0.1,epochs={epochs}", [sam, sam + 1, sam + 3])
    (line,) = verdicts.evaluate(plan, "other").itertuples()
    assert line.effect == pytest.approx(10 + 1 / 3)


def test_a_view_of_nothing_planned_has_nothing(tmp_path):
    plan = study(tmp_path)
    records = Records(View(plan, plan.papers["geometry_sam"], {"model": "no such"}))
    for found in (records.history("sam", 0.1, "region1", "mean"), records.of(None, "grad_norm"),
                  records.values("sam", 0.1, "lambda_max")):  # fmt: skip
        assert not len(found)


def test_files_hold_the_verdicts(tmp_path):
    later = claim(**GREATER | {"rhos": [0.8], "id": "C2"})
    plan = study(tmp_path, [claim(**GREATER | {"rhos": [0.1]}), later])
    record_all(plan)
    files = [plan.results / f"claims/geometry_sam.{end}" for end in ("json", "csv")]
    verdicts.write(plan, "geometry_sam")
    written = [path.read_bytes() for path in files]
    first, second = json.loads(written[0])["claims"]
    assert (first["verdict"], first["parts"][0]["effect"]) == ("supported", 11.0)
    assert (second["verdict"], second["effect"]) == ("not run", None)
    table = pd.read_csv(files[1])
    assert tuple(table.columns) == verdicts.COLUMNS
    assert list(table.verdict) == ["supported", "not run"]
    verdicts.write(plan, "geometry_sam")
    assert [path.read_bytes() for path in files] == written
