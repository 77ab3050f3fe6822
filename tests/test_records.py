"""Records: their format, what is kept, what is found out and trained again, and the cell's lock."""

import csv
import fcntl
import json
import os
import resource
import shutil
import threading

import pytest
from safetensors import safe_open

from samscope.optim import REGIONS
from samscope.stages.train import train_cell
from samscope.store import provenance, records
from samscope.train import engine
from tiny_cell import tiny

CELL = tiny(epochs=2)
FILES = {*records.FILES, "provenance.json"}


@pytest.fixture(scope="module")
def _trained(data_dir, tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    train_cell(CELL, [3, 0], folder, data_dir)
    return folder


@pytest.fixture
def folder(_trained, tmp_path):
    """The folder of a cell with seeds 0 and 3 trained."""
    return shutil.copytree(_trained, tmp_path / "cell")


def again(folder, data_dir, cell=CELL, seeds=(0, 3)):
    """Train the cell once more; the lines of the report."""
    lines = []
    train_cell(cell, seeds, folder, data_dir, lines.append)
    return lines


def content(folder):
    """All files but provenance, which holds times."""
    paths = (p for p in folder.rglob("*") if p.is_file() and p.name != "provenance.json")
    return {str(p.relative_to(folder)): p.read_bytes() for p in paths}


# Format


def test_metrics_of_a_cell(folder):
    record = json.loads((folder / "metrics.json").read_text())
    assert record["cell"] == CELL.id
    assert record["spec"] == CELL.to_dict()
    assert [run["seed"] for run in record["runs"]] == [0, 3]
    for run in record["runs"]:
        own = json.loads((folder / f"seed={run['seed']}" / "metrics.json").read_text())
        assert run == {"seed": run["seed"], "digest": CELL.digest(run["seed"]), **own}
        for split in ("train", "val", "test"):
            for metric in ("acc_percent", "loss"):
                assert own.pop(f"{split}_{metric}").keys() == {"best_val", "last"}
        best = own.pop("best_epoch")
        assert own == {"epochs": 2, "diverged": False}
        assert best in (1, 2)


def test_history_of_a_cell(folder):
    text = (folder / "history.csv").read_text()
    rows = list(csv.DictReader(text.splitlines()))
    assert [(row["seed"], row["epoch"]) for row in rows] == [
        (seed, epoch) for seed in "03" for epoch in "12"
    ]
    assert text.splitlines()[0] == (
        "seed,epoch,lr,train_loss,train_acc_percent,val_loss,val_acc_percent,grad_norm,"
        "perturbed_grad_norm,region1,region2,region3,region4,tie,zero,nonfinite,"
        "members,threshold_g,above_g,threshold_h,above_h"
    )
    for row in rows:
        assert sum(float(row[name]) for name in REGIONS) == pytest.approx(100)
    assert [float(row["lr"]) for row in rows[:2]] == [0.1, pytest.approx(0.05)]
    one = (folder / "seed=3" / "history.csv").read_text().splitlines()
    assert text.splitlines()[3:] == one[1:]


def test_sgd_has_no_regions_in_its_history(data_dir, tmp_path):
    again(tmp_path, data_dir, tiny(variant="sgd", epochs=1), [0])
    (row,) = csv.DictReader((tmp_path / "history.csv").read_text().splitlines())
    assert float(row["grad_norm"]) > 0
    assert {row[name] for name in ("perturbed_grad_norm", *REGIONS)} == {""}


def test_records_of_a_run(folder):
    run = folder / "seed=3"
    assert {path.name for path in run.iterdir()} == FILES
    assert json.loads((run / "spec.json").read_text()) == {
        "digest": CELL.digest(3),
        "seed": 3,
        "cell": CELL.to_dict(),
    }
    source = json.loads((run / "provenance.json").read_text())
    assert source.keys() == {
        *("commit", "dirty", "torch", "python", "device", "cpu", "threads", "seconds", "started"),
        *("host_os", "code_digest", "pins", "fingerprint", "sha256"),
    }
    assert source["threads"] == 1
    assert source["seconds"] > 0
    with safe_open(run / "weights.safetensors", "pt") as file:
        assert {"linear.weight", "features.1.running_mean"} <= set(file.keys())


def test_json_is_sorted_with_an_indent_of_one_and_no_nan():
    text = records.to_json({"b": [1.0, float("nan")], "a": {"x": float("inf"), "y": 0.3}})
    assert text == ('{\n "a": {\n  "x": null,\n  "y": 0.3\n },\n "b": [\n  1.0,\n  null\n ]\n}\n')


# Provenance


def test_provenance_without_git_or_a_checkout(monkeypatch):
    monkeypatch.setenv("PATH", "")
    provenance._checkout.cache_clear()
    found = provenance.collect("cpu", threads=1)
    provenance._checkout.cache_clear()
    assert found["commit"] is found["dirty"] is None
    assert all(found[name] for name in ("torch", "python", "cpu", "host_os"))


def test_code_digest_moves_with_any_python_file_of_the_package(monkeypatch, tmp_path):
    monkeypatch.setattr(provenance, "PACKAGE", tmp_path)

    def digest():
        provenance.code_digest.cache_clear()
        return provenance.code_digest()

    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b.py").write_text("x = 1\n")
    first = digest()
    (tmp_path / "a" / "notes.txt").write_text("not code")
    assert digest() == first
    (tmp_path / "a" / "b.py").write_text("x = 2\n")
    second = digest()
    (tmp_path / "a" / "b.py").rename(tmp_path / "b.py")
    assert len({first, second, digest()}) == 3
    provenance.code_digest.cache_clear()


# What is kept


def test_valid_records_are_kept_and_not_trained_again(folder, data_dir, monkeypatch):
    before = {p: p.stat().st_mtime_ns for p in (folder / "seed=0").iterdir()}
    expected = content(folder)
    monkeypatch.setattr(engine, "train", None)
    for name in ("metrics.json", "history.csv"):
        (folder / name).unlink()
    lines = again(folder, data_dir)
    assert len(lines) == 2
    assert all(line.startswith(f"{CELL.id}/seed=") and line.endswith("kept") for line in lines)
    assert {p: p.stat().st_mtime_ns for p in (folder / "seed=0").iterdir()} == before
    assert content(folder) == expected


def test_a_new_seed_trains_alone_and_the_declared_files_hold_what_is_asked(folder, data_dir):
    lines = again(folder, data_dir, seeds=[0, 1])
    assert [line.endswith("kept") for line in lines] == [True, False]
    runs = json.loads((folder / "metrics.json").read_text())["runs"]
    assert [run["seed"] for run in runs] == [0, 1]
    assert (folder / "history.csv").read_text().count("\n") == 1 + 2 * 2
    assert (folder / "seed=3" / "metrics.json").exists()


# What is found out


def truncated(path):
    path.write_bytes(path.read_bytes()[:-20])


def changed(path):
    path.write_bytes(path.read_bytes().replace(b"1", b"2"))


def emptied(path):
    path.write_bytes(b"")


def removed(path):
    path.unlink()


DAMAGES = [(name, damage) for name in sorted(FILES) for damage in (truncated, emptied, removed)]
DAMAGES += [(name, changed) for name in records.FILES]
DAMAGES.remove((records.WEIGHTS, removed))  # that is no damage


@pytest.mark.parametrize(("name", "damage"), DAMAGES)
def test_a_damaged_record_is_named_and_trained_again(folder, data_dir, name, damage):
    expected = content(folder)
    damage(folder / "seed=0" / name)
    lines = again(folder, data_dir)
    assert lines[0].startswith(f"{folder / 'seed=0'}: ")
    assert lines[0].endswith("; trained again")
    assert name in lines[0]
    assert "\n" not in lines[0]
    assert lines[-1].endswith("kept")
    assert content(folder) == expected


def test_weights_that_are_dropped_are_not_missed(folder, data_dir, monkeypatch):
    monkeypatch.setattr(engine, "train", None)
    records.drop_weights(folder / "seed=0")
    assert [path.parent.name for path in folder.rglob(records.WEIGHTS)] == ["seed=3"]
    assert all(line.endswith("kept") for line in again(folder, data_dir))


def test_what_a_record_of_a_cell_holds(folder):
    path = folder / "metrics.json"
    runs = {seed: CELL.digest(seed) for seed in (0, 3)}
    assert records.holds(path, runs)
    assert not records.holds(path, {0: runs[0]})
    assert not records.holds(path, {**runs, 1: CELL.digest(1)})
    assert not records.holds(path, {0: runs[0], 3: runs[0]})
    assert not records.holds(path, runs, {"images": 40})
    assert not records.holds(folder / "absent.json", runs)
    path.write_text('{"runs": [0]}')
    assert not records.holds(path, runs)


def test_records_of_another_cell_are_named_and_trained_again(folder, data_dir):
    other = tiny(epochs=2, lr=0.2)
    lines = again(folder, data_dir, other, [0])
    assert "spec.json is of another run" in lines[0]
    run = json.loads((folder / "metrics.json").read_text())["runs"][0]
    assert run["digest"] == other.digest(0)
    assert again(folder, data_dir, other, [0])[0].endswith("kept")


def test_metrics_copied_from_another_seed_are_found_out(folder, data_dir):
    shutil.copy(folder / "seed=3" / "metrics.json", folder / "seed=0" / "metrics.json")
    assert "metrics.json is not what was written" in again(folder, data_dir)[0]


# Disks


def test_a_disk_without_space_is_named_and_costs_nothing(folder, data_dir):
    expected = content(folder)
    shutil.rmtree(folder / "seed=0")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(OSError, match="File too large") as error:
            again(folder, data_dir)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert str(folder / "seed=0") in error.value.filename
    assert (
        content(folder / "seed=3").items()
        <= {name.removeprefix("seed=3/"): value for name, value in expected.items()}.items()
    )
    again(folder, data_dir)
    assert content(folder) == expected


def test_a_folder_that_cannot_be_made_is_named(data_dir, tmp_path):
    (tmp_path / "results").write_text("a file")
    with pytest.raises(OSError, match="Not a directory") as error:
        again(tmp_path / "results" / "cell", data_dir)
    assert error.value.filename == str(tmp_path / "results" / "cell")


# Two jobs


def test_a_second_job_waits_and_finds_the_run_done(folder, data_dir):
    waits = threading.Event()
    lines = []

    def report(line):
        lines.append(line)
        waits.set()

    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        second = threading.Thread(target=train_cell, args=(CELL, [0], folder, data_dir, report))
        second.start()
        assert waits.wait(30)
        assert lines == [f"{folder}: waiting for another job that works on it"]
        os.remove(folder / "metrics.json")  # what the second job does, it does after this
    second.join(30)
    assert lines[1].endswith("kept")
    assert (folder / "metrics.json").exists()
