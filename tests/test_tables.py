import json
import math

import pandas as pd
import pytest

from pages import behind, page, words
from samscope import InputError
from samscope.analysis import exports, results, spectra, tables
from samscope.analysis.stats import holm, mean_interval, paired_interval
from samscope.metrics import METRICS, Metric
from samscope.plan.load import load_plan
from small_study import (
    CURVATURE,
    HEADER,
    ONE,
    OWN,
    REAL,
    RUNS,
    STUDY,
    line,
    record,
    record_all,
    study,
    write_study,
)


@pytest.fixture
def plan(tmp_path):
    plan = study(tmp_path)
    record_all(plan)
    return plan


def test_measured_stands_beside_reported(plan):
    found = line(tables.build(plan, "geometry_sam", "T1"), "sam", 0.1)
    expected = mean_interval([80.0, 82.0, 84.0])
    assert (found.reported, found.measured, found.seeds) == (78.84, 82.0, 3)
    # t(0.975, 2) s / sqrt(3), with s = 2
    assert found.ci_high - found.measured == pytest.approx(4.302653 * 2 / math.sqrt(3), rel=1e-6)
    assert found.ci_low == pytest.approx(expected.low)
    assert (found.status, found.reason, found.cell) == ("measured", "", f"{RUNS}/sam/rho=0.1")


def test_reported_stands_beside_the_best_epoch_only(plan):
    frame = tables.build(plan, "geometry_sam", "T1")
    last = line(frame, "sam", 0.1, selection="last")
    assert last.measured == 81.0
    assert frame[frame.selection == "last"].reported.isna().all()


def test_an_open_cell_is_filled(plan):
    found = line(tables.build(plan, "geometry_sam", "T1"), "ckpt1", 0.2)
    assert math.isnan(found.reported)
    assert (found.measured, found.status) == (77.0, "measured")


def test_an_excluded_number_is_measured_and_says_why(plan):
    frame = tables.build(plan, "geometry_sam", "T1")
    found = line(frame, "ckpt1", 0.1)
    assert (found.status, found.reason) == ("excluded", "a paste error")
    assert (found.reported, found.measured) == (78.60, 77.0)
    assert line(frame, "ckpt1", 0.1, selection="last").status == "measured"


def test_what_is_not_run_says_why(tmp_path):
    plan = study(tmp_path)
    frame = tables.build(plan, "geometry_sam", "T1")
    assert line(frame, "sam", 0.1).reason == "no result yet"
    thinned = line(frame, "sam", 0.4)
    assert (thinned.status, thinned.reason, thinned.cell) == ("not run", "to save time", "")
    assert line(frame, "ckpt1", 0.1).status == "excluded"
    assert set(frame.status) == {"not run", "excluded"}
    assert frame.measured.isna().all()


def test_missing_seeds_and_a_single_seed_are_said(plan):
    record(plan, f"{RUNS}/sam/rho=0.1", [80.0, 82.0])
    record(plan, f"{RUNS}/sam/rho=0.2", [81.0])
    frame = tables.build(plan, "geometry_sam", "T1")
    assert line(frame, "sam", 0.1).reason == "2 of 3 seeds"
    one = line(frame, "sam", 0.2)
    assert (one.measured, one.seeds, one.reason) == (81.0, 1, "1 of 3 seeds")
    assert math.isnan(one.ci_low)


def test_a_diverged_loss_is_no_number(plan):
    record(plan, f"{RUNS}/sam/rho=0.1", [10.0, 82.0, 84.0], [None, 0.6, 0.7])
    found = line(tables.build(plan, "geometry_sam", "T1"), "sam", 0.1, metric="test_loss")
    assert math.isnan(found.measured)
    assert found.reason == "not finite in 1 of 3 seeds"


def test_a_record_of_other_settings_does_not_count(plan):
    cell = f"{RUNS}/sam/rho=0.1"
    record(plan, cell, [1.0, 2.0, 3.0], spec=plan.cells[cell].cell.but(epochs=99))
    assert line(tables.build(plan, "geometry_sam", "T1"), "sam", 0.1).status == "not run"


@pytest.mark.parametrize(
    ("spoil", "field"),
    [
        (lambda text: text[: len(text) // 2], "not JSON"),
        (lambda text: text.replace('"runs"', '"run"'), "runs: (missing)"),
        (lambda text: text.replace('"test_loss"', '"test_lost"'), "seed=0: test_loss: (missing)"),
        (lambda text: text.replace("80.0", '"80 %"'), "seed=0 numbers.test_acc_percent"),
        (lambda text: "[]", "file: []"),
    ],
)
def test_a_spoilt_record_is_named_in_one_line(plan, spoil, field):
    path = plan.run_dir(f"{RUNS}/sam/rho=0.1") / "metrics.json"
    path.write_text(spoil(path.read_text()))
    with pytest.raises(InputError) as error:
        tables.build(plan, "geometry_sam", "T1")
    assert str(path) in str(error.value)
    assert field in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: text[:-30],
        lambda text: text[:-1],
        lambda text: text.replace("region1", "region9"),
        lambda text: text.replace("60.0", "sixty"),
        lambda text: "",
    ],
)
def test_a_cut_history_is_named(plan, spoil):
    path = plan.run_dir(f"{RUNS}/sam/rho=0.1") / "history.csv"
    path.write_text(spoil(path.read_text()))
    with pytest.raises(InputError, match=r"history\.csv"):
        results.histories(plan, [f"{RUNS}/sam/rho=0.1"])


def test_history_of_sgd_has_no_shares(plan):
    frame = results.histories(plan, [f"{RUNS}/sgd/base", f"{RUNS}/sam/rho=0.1"])
    assert list(frame[frame.cell == f"{RUNS}/sam/rho=0.1"].region1) == [60.0, 61.0, 62.0] * 3
    assert frame[frame.cell == f"{RUNS}/sgd/base"].region1.isna().all()


def test_lambda_max_is_that_of_the_last_epoch_and_lost_where_it_was_not_finite(plan):
    record(plan, f"{RUNS}/sgd/base", [1.0, 1.0, 1.0], top=[3.0, 5.0, None])
    frame = spectra.measured(plan, [f"{RUNS}/sgd/base"])
    top = list(frame[frame["last"]].lambda_max)
    assert list(top[:2]) == [3.0, 5.0]
    assert math.isnan(top[2])


def test_markdown_is_the_paper_s_layout(plan, tmp_path):
    tables.write(plan, "geometry_sam", "T1", tmp_path / "out")
    text = (tmp_path / "out/T1.md").read_text()
    assert text.startswith("# T1: Table T1\n\n> Does *it* hold?\n")
    assert "cnn3 on digits in place of RN18 on CIFAR-100" in text
    assert "epochs 3 (paper: 200)" in text
    assert "Not run at rho 0.4: to save time." in text
    grid = [row for row in text.splitlines() if row.startswith("|")]
    assert grid[0] == "| rho | SGD | ori-SAM | ckpt1 |"
    assert grid[2] == (
        "| 0.1 | 77.36 (0.9116) /<br>**71.00 ± 2.48 (1.100 ± 0.248)**, n=3 "
        "| 78.84 /<br>**82.00 ± 4.97 (0.600 ± 0.248)**, n=3 "
        "| 78.60 (0.8784)<sup>a</sup> /<br>**77.00 ± 6.57 (0.800 ± 0.248)**, n=3 |"
    )
    assert grid[3].endswith("| ?? /<br>**77.00 ± 2.48**, n=3 *new* |")
    assert grid[4] == "| 0.4 |  | 79.21 /<br>not run | 79.58 /<br>not run |"
    assert "<sup>a</sup> Not compared: a paste error." in text


def test_csv_is_the_frame(plan, tmp_path):
    tables.write(plan, "geometry_sam", "S1", tmp_path)
    found = pd.read_csv(tmp_path / "S1.csv", keep_default_na=False, na_values=[""])
    assert tuple(found.columns) == tables.columns(plan.papers["geometry_sam"])
    assert list(found[found.selection == "best_val"].measured) == [82.0, 80.0, 79.0]


def test_written_twice_is_the_same_bytes(plan, tmp_path):
    for folder in ("a", "b"):
        for table in ("T1", "S1"):
            tables.write(plan, "geometry_sam", table, tmp_path / folder)
    for path in sorted((tmp_path / "a").iterdir()):
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()


def test_the_paper_s_own_setting_is_said_to_be_that(tmp_path):
    plan = study(tmp_path, **OWN)
    tables.write(plan, "geometry_sam", "T1", tmp_path)
    text = (tmp_path / "T1.md").read_text()
    assert "the paper's own models, data and protocol (RN18 on CIFAR-100)" in text
    assert "stand-in" not in text


def test_a_row_may_depart_from_the_protocol(tmp_path):
    """A row with a precision of its own is a cell of its own, unless it is the protocol's."""
    study(tmp_path)
    path = tmp_path / "workflow/papers/geometry_sam/reported/T1.csv"
    header, *lines = path.read_text().splitlines()
    fields = lines[0].split(",")
    fields[7:] = ["", "", "", ""]
    more = [",".join([*fields, precision]) for precision in ("float32", "bf16")]
    path.write_text(
        "\n".join([f"{header},precision", *(f"{line}," for line in lines), *more]) + "\n"
    )
    plan = load_plan({"profile": "tiny", "papers": ["geometry_sam"]}, tmp_path)
    plain, *_, same, other = plan.papers["geometry_sam"].tables["T1"].rows
    assert (plain.varied, same.varied, other.varied) == ((), (), ("precision",))
    assert same.cell == plain.cell
    assert other.cell == plain.cell.replace("base", "precision=bf16")
    assert plan.cells[other.cell].cell.numerics.precision == "bf16"
    assert plan.cells[other.cell].cell.digest(0) != plan.cells[same.cell].cell.digest(0)


def test_a_printed_error_is_a_hundred_less_the_accuracy(tmp_path):
    folder = write_study(tmp_path, **OWN)
    row = ONE.replace("test_acc_percent", "test_error_percent")
    (folder / "reported/T1.csv").write_text(HEADER + row.format("22.70", ""))
    plan = load_plan({"profile": "tiny", "papers": [STUDY], "tables": ["T1"]}, tmp_path)
    record(plan, f"{REAL}/sgd/base", [77.0, 77.4, 77.8])
    found = line(tables.build(plan, STUDY, "T1"), "sgd", 0.1, metric="test_error_percent")
    assert (found.measured, found.agreement) == (pytest.approx(22.6), "agrees")
    tables.write(plan, STUDY, "T1", tmp_path)
    text = (tmp_path / "T1.md").read_text()
    assert "22.70 /<br>**≈ 22.60 ± 0.99**, n=3" in text
    assert "the printed test error in percent / the measured" in text
    assert "22.60 ± 0.99" in words(page(plan))


def test_a_metric_is_one_entry(tmp_path, monkeypatch):
    new = Metric("how often wrong in training", digits=1, better=-1, high=100.0,
                 read="train_acc_percent", of_hundred=True)  # fmt: skip
    monkeypatch.setitem(METRICS, "train_error", new)
    folder = write_study(tmp_path, tables={})
    row = ONE.replace("test_acc_percent", "train_error")
    (folder / "reported/T1.csv").write_text(HEADER + row.format("12.5", ""))
    plan = load_plan({"profile": "tiny", "papers": [STUDY], "tables": ["T1"]}, tmp_path)
    record(plan, f"{RUNS}/sgd/base", [77.0, 77.4, 77.8])
    tables.write(plan, STUDY, "T1", tmp_path)
    text = (tmp_path / "T1.md").read_text()
    assert "12.5 /<br>**22.6 ± 1.0**, n=3" in text
    assert "the printed how often wrong in training / the measured" in text
    assert "22.6 ± 1.0" in words(page(plan))


def test_a_table_may_print_curvature(tmp_path):
    """Measured at the last weights, whatever the table shows of the training."""
    folder = write_study(tmp_path, tables={})
    row = ONE.replace("test_acc_percent", "lambda_max")
    (folder / "reported/T1.csv").write_text(HEADER + row.format("25", ""))
    plan = load_plan({"profile": "tiny", "papers": [STUDY], "tables": ["T1"]}, tmp_path)
    record(plan, f"{RUNS}/sgd/base", [77.0, 77.4, 77.8], top=[10.0, 20.0, 40.0])
    frame = tables.build(plan, STUDY, "T1")
    assert list(frame.measured) == pytest.approx([20.0, 20.0])
    record(plan, f"{RUNS}/sgd/base", [77.0, 77.4, 77.8])
    (plan.run_dir(f"{RUNS}/sgd/base") / "curvature.json").unlink()
    assert set(tables.build(plan, STUDY, "T1").status) == {"not run"}


def test_what_differs_by_factors_is_averaged_and_compared_by_them(tmp_path):
    measured = CURVATURE | {"where": {"model": "resnet18", "variant": ["sgd", "sam"]}}
    folder = write_study(tmp_path, **{**OWN, "stages": {"curvature": measured}})
    rows = [ONE.format(*at).replace("test_acc_percent", "lambda_max") for at in (("30", ""),)]
    rows += [rows[0].replace("SGD,sgd", "SAM,sam").replace(",30,", ",240,")]
    (folder / "reported/T1.csv").write_text(HEADER + "".join(rows))
    plan = load_plan({"profile": "tiny", "papers": [STUDY], "tables": ["T1"]}, tmp_path)
    record(plan, f"{REAL}/sgd/base", [77.0, 77.4, 77.8], top=[10.0, 20.0, 40.0])
    record(plan, f"{REAL}/sam/rho=0.1", [77.0, 77.4, 77.8], top=[5.0, 10.0, 20.0])
    frame = tables.build(plan, STUDY, "T1")
    sgd, sam = (line(frame, variant, 0.1, metric="lambda_max") for variant in ("sgd", "sam"))
    # t(0.975, 2) times ln 2, the deviation of the logarithms, over the root of 3
    half = 4.302653 * math.log(2) / math.sqrt(3)
    ends = [20 * math.exp(-half), 20 * math.exp(half)]
    assert [sgd.ci_low, sgd.ci_high] == pytest.approx(ends, rel=1e-6)
    # one further run, by the spread of the six about their means: 4 degrees of freedom
    assert sgd.tolerance == pytest.approx(2 ** (2.776445 * math.sqrt(4 / 3)), rel=1e-5)
    assert (sgd.agreement, sam.agreement) == ("agrees", "differs")
    assert [sam.difference, sam.reported_difference] == pytest.approx([0.5, 8.0])
    tables.write(plan, STUDY, "T1", tmp_path)
    text = (tmp_path / "T1.md").read_text()
    assert f"20 [{ends[0]:.3g}, {ends[1]:.3g}]" in text
    assert exports.GEOMETRIC in text
    page(plan)
    told = json.dumps(behind(plan, f"{REAL}/sgd/base"), ensure_ascii=False)
    assert "printed over measured ×1.50, tolerance ×9.23 either way" in told
    told = json.dumps(behind(plan, f"{REAL}/sam/rho=0.1"), ensure_ascii=False)
    assert "Largest eigenvalue over SGD’s: ×0.5" in told


def test_a_factor_that_is_none_says_so(tmp_path):
    folder = write_study(tmp_path, tables={})
    (folder / "reported/T1.csv").write_text(
        HEADER + ONE.replace("test_acc_percent", "lambda_max").format("25", "")
    )
    plan = load_plan({"profile": "tiny", "papers": [STUDY], "tables": ["T1"]}, tmp_path)
    record(plan, f"{RUNS}/sgd/base", [77.0, 77.4, 77.8], top=[10.0, -20.0, 40.0])
    found = line(tables.build(plan, STUDY, "T1"), "sgd", 0.1, metric="lambda_max")
    assert math.isnan(found.measured)
    assert found.reason == "not above 0 in 1 of 3 seeds"


def test_a_history_in_steps_has_them_for_epochs(tmp_path):
    plan = study(tmp_path, protocol={"epochs": 0, "steps": 300, "report_every": 100,
                                     "augment": "none", "val_size": 100}, stages={})  # fmt: skip
    sam = next(cell for cell in plan.cells if "/sam/" in cell)
    record(plan, sam, [80.0, 81.0, 82.0])
    path = plan.run_dir(sam) / "history.csv"
    head, *lines = path.read_text().splitlines()
    assert head.startswith("seed,step,lr,")
    frame = results.histories(plan, [sam])
    assert list(frame.columns[:3]) == ["cell", "seed", "epoch"]
    assert len(frame) == len(lines)
    assert "step" not in frame


def test_differences_are_to_the_first_column_paired_and_corrected(plan):
    frame = tables.build(plan, "geometry_sam", "T1")
    sgd, sam = pd.Series([70.0, 71.0, 72.0]), pd.Series([80.0, 82.0, 84.0])
    found = line(frame, "sam", 0.1)
    expected = paired_interval(sam, sgd)
    assert (found.against, found.difference) == ("SGD", 11.0)
    assert (found.difference_low, found.difference_high) == pytest.approx(
        (expected.low, expected.high)
    )
    assert found.reported_difference == pytest.approx(78.84 - 77.36)
    others = [([81.0, 82.0, 83.0]), ([75.0, 76.0, 80.0]), ([76.0, 77.0, 78.0])]
    p = holm([expected.p, *(paired_interval(pd.Series(v), sgd).p for v in others)])
    assert found.p_difference == pytest.approx(p[0])
    assert math.isnan(line(frame, "sgd", 0.1).difference)
    # Its printed number is excluded, and rho 0.4 has no SGD in this table.
    assert math.isnan(line(frame, "ckpt1", 0.1).reported_difference)
    assert line(frame, "sam", 0.4).against == ""
    assert math.isnan(line(frame, "sam", 0.1, selection="last").reported_difference)
