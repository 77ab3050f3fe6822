"""Archives of records: what travels, what is refused, and that the workflow takes it as built."""

import gzip
import io
import json
import os
import random
import shutil
import tarfile
from pathlib import Path

import pytest

from conftest import Project, planned
from samscope.errors import InputError
from samscope.plan.load import load_plan
from samscope.run import archive, cli
from samscope.run.queue import run_queue
from samscope.store import records

CNN = "cnn3-digits"
SAM, CKPT12 = f"{CNN}/sam/rho=0.2", f"{CNN}/ckpt12/rho=0.2"
RUNS = [(cell, seed) for cell in (SAM, CKPT12) for seed in (0, 1)]
SMALL = {name for name in records.FILES if name != records.WEIGHTS} | {"provenance.json"}
SURFACES = {"landscape.json"} | {
    f"landscape-{kind}.{ending}"
    for kind in ("line", "random", "eigen", "trajectory")
    for ending in ("csv", "json")
}
"""Of the first run of SAM, which is the only one with a landscape here."""


def plan_of(project: Project):
    return load_plan(dict(project.config), project.folder)


def silent(line: str) -> None: ...


@pytest.fixture(scope="module")
def _made(tmp_path_factory, data_dir):
    """A project whose runs the queue made; its archive is ``all.tar.gz``."""
    made = Project(tmp_path_factory.mktemp("made"))
    shutil.copytree(data_dir, made.folder / "data")
    run_queue(plan_of(made), silent, pack=made.folder / "all.tar.gz")
    return made


@pytest.fixture
def made(_made, tmp_path):
    """A copy of it, to break."""
    return _made.copy(tmp_path / "made")


@pytest.fixture
def fresh(tmp_path):
    """A project in which nothing is built and no data set is there."""
    (tmp_path / "fresh").mkdir()
    return Project(tmp_path / "fresh")


def members(path: Path) -> dict[str, bytes]:
    with tarfile.open(path) as tar:
        return {member.name: tar.extractfile(member).read() for member in tar}


def content(project: Project) -> dict[str, bytes]:
    """What is below ``runs/``, but locks and weights."""
    runs = project.folder / "results/tiny/runs"
    paths = (p for p in sorted(runs.rglob("*")) if p.is_file())
    kept = (p for p in paths if p.name != ".lock" and not p.name.startswith("weights"))
    return {p.relative_to(runs).as_posix(): p.read_bytes() for p in kept}


def run_of(project: Project, cell: str = SAM, seed: int = 0) -> Path:
    return project.folder / "results/tiny/runs" / cell / f"seed={seed}"


def packed(project: Project) -> Path:
    archive.pack(plan_of(project), RUNS, project.folder / "new.tar.gz")
    return project.folder / "new.tar.gz"


def rewrite(run: Path, name: str, old: str, new: str) -> None:
    """Change a file of a run and its checksum, as another training of it would."""
    text = (run / name).read_text()
    assert old in text
    (run / name).write_text(text.replace(old, new))
    source = json.loads((run / "provenance.json").read_text())
    source["sha256"][name] = records._checksum(run / name)
    (run / "provenance.json").write_text(records.to_json(source))


# Packing


def test_it_holds_the_small_files_of_the_runs(made):
    others = ("state.bin", "state.previous.bin", ".spec.json.tmp", "weights.best.safetensors")
    for name in (*others, "ratios.json", "evil.so"):
        (run_of(made) / name).write_text("large")
    found = members(packed(made))
    assert json.loads(found.pop("profile.json")) == {"profile": "tiny"}
    files = {run: set() for run in RUNS}
    for name, value in found.items():
        folder, file = name.rsplit("/", 1)
        cell, seed = folder.removeprefix("runs/").split("/seed=")
        files[cell, int(seed)].add(file)
        assert value == (run_of(made, cell, int(seed)) / file).read_bytes()
    measured = {"curvature.json"}
    assert files == {
        (SAM, 0): SMALL | measured | SURFACES, (CKPT12, 0): SMALL | measured,
        (SAM, 1): SMALL, (CKPT12, 1): SMALL,
    }  # fmt: skip


def test_the_same_records_give_the_same_bytes(made):
    first = packed(made).read_bytes()
    assert first == (made.folder / "all.tar.gz").read_bytes()
    for path in made.folder.rglob("*"):
        os.utime(path, (10, 10))
    archive.pack(plan_of(made), reversed(RUNS), made.folder / "other name.tar.gz")
    assert (made.folder / "other name.tar.gz").read_bytes() == first


# Merging


def test_xz_presses_more_and_is_read_as_well(made, fresh):
    path = made.folder / "all.tar.xz"
    archive.pack(plan_of(made), RUNS, path)
    first = path.read_bytes()
    assert len(first) < len((made.folder / "all.tar.gz").read_bytes())
    archive.pack(plan_of(made), RUNS, path)
    assert path.read_bytes() == first
    assert archive.merge(plan_of(fresh), path, silent) == (4, 0)
    assert content(fresh) == content(made)
    path.write_bytes(first[:-40])
    refuse(fresh, path, "all.tar.xz", "damaged")


def test_a_fresh_project_gets_all_records(made, fresh):
    assert archive.merge(plan_of(fresh), made.folder / "all.tar.gz", silent) == (4, 0)
    assert content(fresh) == content(made)
    before = {p: p.stat().st_mtime_ns for p in fresh.folder.rglob("*.json")}
    assert archive.merge(plan_of(fresh), made.folder / "all.tar.gz", silent) == (0, 4)
    assert {p: p.stat().st_mtime_ns for p in fresh.folder.rglob("*.json")} == before


def test_what_is_here_and_what_comes_are_put_together(made, fresh):
    plan = plan_of(made)
    for name, runs in (("sam", RUNS[:1]), ("rest", RUNS[1:])):
        archive.pack(plan, runs, made.folder / f"{name}.tar.gz")
    assert archive.merge(plan_of(fresh), made.folder / "sam.tar.gz", silent) == (1, 0)
    summary = fresh.folder / "results/tiny/runs" / SAM / "metrics.json"
    assert [run["seed"] for run in json.loads(summary.read_text())["runs"]] == [0]
    assert archive.merge(plan_of(fresh), made.folder / "rest.tar.gz", silent) == (3, 0)
    assert content(fresh) == content(made)


def test_a_run_gets_the_files_it_lacks_and_keeps_its_own(made, fresh):
    shutil.copytree(made.folder / "results", fresh.folder / "results")
    for path in fresh.folder.rglob("curvature.json"):
        path.unlink()
    source = json.loads((run_of(fresh) / "provenance.json").read_text())
    (run_of(fresh) / "provenance.json").write_text(records.to_json({**source, "seconds": 1.5}))
    # as of before a leaf that is at its default came
    rewrite(run_of(fresh), "spec.json", '  "nudge": 0.0,\n', "")
    own = {p: p.read_bytes() for p in run_of(fresh).iterdir()}
    assert archive.merge(plan_of(fresh), made.folder / "all.tar.gz", silent) == (2, 2)
    assert {p: p.read_bytes() for p in own} == own
    for cell in (SAM, CKPT12):
        name = f"{cell}/curvature.json"
        assert content(fresh)[name] == content(made)[name]


@pytest.mark.parametrize("how", ["damaged", "of other settings", "unfinished"])
def test_a_run_that_is_no_valid_record_is_replaced(made, fresh, how):
    shutil.copytree(made.folder / "results", fresh.folder / "results")
    run = run_of(fresh)
    if how == "unfinished":
        (run / "provenance.json").unlink()
        (run / "state.bin").write_text("half")
    elif how == "damaged":
        (run / records.WEIGHTS).write_bytes(b"half")
    else:
        rewrite(run, "spec.json", '"digest": "', '"digest": "0')
    assert archive.merge(plan_of(fresh), made.folder / "all.tar.gz", silent) == (1, 3)
    assert {path.name for path in run.iterdir()} == SMALL | SURFACES | {"curvature.json"}
    assert content(fresh) == content(made)


def refuse(project: Project, path: Path, *words: str) -> list[str]:
    """Merging is refused in one line, and nothing is written; the lines of the runs."""
    before = content(project)
    lines: list[str] = []
    with pytest.raises(InputError) as error:
        archive.merge(plan_of(project), path, lines.append)
    message = str(error.value)
    assert "\n" not in message
    for word in words:
        assert word in message
    assert content(project) == before
    return lines


def test_numbers_that_differ_from_those_of_the_same_run_are_a_conflict(made, fresh):
    assert archive.merge(plan_of(fresh), made.folder / "all.tar.gz", silent) == (4, 0)
    shutil.rmtree(run_of(fresh, CKPT12, 0))  # to be restored with the rest, or not at all
    rewrite(run_of(made), "metrics.json", '"diverged": false', '"diverged": true')
    (line,) = refuse(fresh, packed(made), "1 of 4 refused", "nothing was imported")
    assert f"runs/{SAM}/seed=0: metrics.json: other than {run_of(fresh)}/metrics.json" in line


def test_a_run_of_other_settings_is_named(made, fresh):
    fresh.scale(protocol={"lr": 0.2})
    lines = refuse(fresh, made.folder / "all.tar.gz", "4 of 4 refused")
    assert [line.split(": ")[0] for line in lines] == sorted(f"runs/{c}/seed={s}" for c, s in RUNS)
    assert all("trained with lr 0.1, here 0.2 is not allowed" in line for line in lines)


def test_a_run_that_no_table_names_is_named(made, fresh):
    made.scale(tables={"T1": {"only": {"rho": [0.2, 0.4]}, "reason": "a test", "seeds": 1}})
    plan = plan_of(made)
    other = f"{CNN}/sam/rho=0.4"
    run_queue(plan, silent, match="sam/rho=0.4")
    archive.pack(plan, [(other, 0)], made.folder / "new.tar.gz")
    (line,) = refuse(fresh, made.folder / "new.tar.gz", "1 of 1")
    assert f"cell: {other} is not allowed; allowed: one of 2 cells" in line


@pytest.mark.parametrize(
    ("name", "old", "new", "word"),
    [
        ("metrics.json", '"epochs": 2', '"epochs": 3', "metrics.json is not what was written"),
        ("history.csv", "0,1,0.1", "0,1,0.2", "history.csv is not what was written"),
        ("spec.json", '"digest": "', '"digest": "0', "does not give the digest it states"),
        ("spec.json", '"lr": 0.1', '"lr": 0.2', "does not give the digest it states"),
        ("spec.json", '"seed": 0', '"seed": 5', "another run"),
        ("spec.json", '"lr"', '"lrr"', "lrr"),
        ("provenance.json", "{", "", "provenance.json is not JSON"),
    ],
)
def test_a_damaged_run_is_named(made, fresh, name, old, new, word):
    path = run_of(made) / name
    path.write_text(path.read_text().replace(old, new, 1))
    (line,) = refuse(fresh, packed(made), "1 of 4 refused")
    assert line.startswith(f"runs/{SAM}/seed=0: ")
    assert word in line


def test_another_profile_is_refused(made, fresh):
    for folder in ("scales", "papers/geometry_sam/scale"):
        path = fresh.folder / "workflow" / folder / "tiny.yaml"
        shutil.copy(path, path.with_name("a.yaml"))
    fresh.config["profile"] = "a"
    assert refuse(fresh, made.folder / "all.tar.gz", "profile.json", "tiny", "--profile") == []


@pytest.mark.parametrize("at", [10, 0.3, 0.99, -5])
def test_a_damaged_archive_is_refused(made, fresh, at):
    path = made.folder / "all.tar.gz"
    whole = path.read_bytes()
    position = at if isinstance(at, int) else int(at * len(whole))
    path.write_bytes(whole[:position])
    refuse(fresh, path, "all.tar.gz", "damaged")
    changed = bytearray(whole)
    changed[position] ^= 1
    path.write_bytes(changed)
    refuse(fresh, path, "all.tar.gz")
    path.write_bytes(b"PK not an archive")
    refuse(fresh, path, "all.tar.gz", "damaged")


@pytest.mark.parametrize(
    "name",
    [
        "/etc/evil", "../evil", f"runs/{SAM}/seed=0/../../../evil.json",
        "runs/../../seed=0/evil.json", f"runs/{SAM}/seed=0/weights.safetensors",
        f"runs/{SAM}/seed=0/.hidden", f"runs/{SAM}/seed=x/spec.json", "link", "folder",
        "/runs/folder", "runs/../folder", "./../folder",
    ],
)  # fmt: skip
def test_a_member_that_does_not_belong_there_is_refused(made, fresh, name, tmp_path):
    member = tarfile.TarInfo(f"runs/{SAM}/seed=0/notes.json" if name == "link" else name)
    if name == "link":
        member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
    elif name.endswith("folder"):
        member.type = tarfile.DIRTYPE
    content = io.BytesIO(gzip.decompress((made.folder / "all.tar.gz").read_bytes()))
    with tarfile.open(fileobj=content, mode="a") as tar:
        tar.addfile(member)
    path = tmp_path / "evil.tar.gz"
    path.write_bytes(gzip.compress(content.getvalue()))
    refuse(fresh, path, "evil.tar.gz: member", member.name)
    assert not list(tmp_path.parent.rglob("evil.json"))


def test_an_archive_of_plain_tar_is_taken(made, fresh, tmp_path):
    """With an entry for each folder, and a ./ before each name."""
    folder = tmp_path / "unpacked"
    with tarfile.open(made.folder / "all.tar.gz") as tar:
        tar.extractall(folder, filter="data")
    for number, name in enumerate((".", "runs")):
        with tarfile.open(tmp_path / "plain.tar.gz", "w:gz") as tar:
            tar.add(folder / name, name)
            if name != ".":
                tar.add(folder / "profile.json", "profile.json")
            assert any(member.isdir() for member in tar.getmembers())
        merged = archive.merge(plan_of(fresh), tmp_path / "plain.tar.gz", silent)
        assert merged == [(4, 0), (0, 4)][number]
    assert content(fresh) == content(made)


def test_the_command(made, fresh, monkeypatch, capsys):
    monkeypatch.chdir(fresh.folder)
    path = str(made.folder / "all.tar.gz")
    assert cli.main(["import", path]) == 0
    assert capsys.readouterr().out == f"{path}: 4 runs imported, 0 were here already\n"
    assert cli.main(["import", "absent.tar.gz"]) == 1
    assert capsys.readouterr().err == "samscope: absent.tar.gz: No such file or directory\n"
    assert cli.main(["import", path, "--profile", "quick"]) == 2
    assert "choose with --profile" in capsys.readouterr().err


# The workflow


def scatter_times(project: Project) -> None:
    """As after ``git clone``: files are as old as it happens."""
    drawn = random.Random(0)
    for path in sorted((project.folder / "results").rglob("*")):
        time = 1.7e9 + drawn.random() * 1e7
        os.utime(path, (time, time))


def test_what_the_repository_holds_packed_is_unpacked_on_first_use(
    made, fresh, monkeypatch, capsys
):
    kept = fresh.folder / "results/tiny.tar.xz"
    monkeypatch.chdir(made.folder)
    assert cli.main(["pack", str(kept)]) == 0
    assert capsys.readouterr().out == f"{kept}: 4 runs packed\n"
    monkeypatch.chdir(fresh.folder)
    assert cli.main(["plan"]) == 0
    said = capsys.readouterr()
    assert said.err == "tiny: the records of 4 runs, from tiny.tar.xz\n"
    assert said.out.endswith("tiny: 2 cells, 4 runs, 4 made\n")
    assert content(fresh) == content(made)
    assert planned(fresh) == {}
    # What a killed call, or one of other papers, unpacked is put together.
    for path in fresh.folder.glob("results/tiny/runs/*/*/*/*.json"):
        path.unlink()
    assert cli.main(["plan"]) == 0
    assert content(fresh) == content(made)
    # What is there already stays as it is, and what is no archive is told.
    kept.write_bytes(b"no archive")
    assert cli.main(["plan"]) == 0
    shutil.rmtree(fresh.folder / "results/tiny/runs")
    assert cli.main(["plan"]) == 2
    assert "results/tiny.tar.xz" in capsys.readouterr().err
    assert [path.name for path in (fresh.folder / "results/tiny").iterdir()] == [".lock"]


@pytest.mark.slow
def test_the_workflow_takes_imported_runs_as_built(made, fresh):
    """Whatever the times of the files, and without the data set."""
    archive.merge(plan_of(fresh), made.folder / "all.tar.gz", silent)
    jobs = fresh.planned_jobs()
    assert jobs["table"] == 1
    assert not {"train", "curvature", "dataset"} & set(jobs)
    scatter_times(fresh)
    assert fresh.planned_jobs() == jobs
    # A data set newer than the records decides nothing either.
    shutil.copytree(made.folder / "data", fresh.folder / "data")
    assert fresh.planned_jobs() == jobs
    # What is asked for beyond the records is made, and they stay.
    shutil.rmtree(fresh.folder / "data")
    shutil.rmtree(fresh.folder / "results/tiny/runs" / CKPT12)
    jobs = fresh.planned_jobs()
    assert {rule: jobs[rule] for rule in ("dataset", "train", "curvature")} == {
        "dataset": 1, "train": 1, "curvature": 1,
    }  # fmt: skip


def test_runs_unpacked_for_a_plan_of_fewer_seeds_are_counted(made, fresh, monkeypatch, capsys):
    archive.pack(plan_of(made), RUNS, fresh.folder / "results/tiny.tar.xz")
    monkeypatch.chdir(fresh.folder)
    fresh.write("config.yaml", {**fresh.config, "seeds": 1})
    assert cli.main(["plan"]) == 0
    assert capsys.readouterr().out.endswith("tiny: 2 cells, 2 runs, 2 made\n")
    fresh.write("config.yaml", fresh.config)
    assert cli.main(["plan"]) == 0
    assert capsys.readouterr().out.endswith("tiny: 2 cells, 4 runs, 4 made\n")
    assert content(fresh) == content(made)


def test_records_of_other_settings_are_made_again(made, fresh):
    archive.merge(plan_of(fresh), made.folder / "all.tar.gz", silent)
    scatter_times(fresh)
    fresh.scale(stages={"curvature": {"images": 30}})
    jobs = fresh.planned_jobs()
    assert jobs["curvature"] == 2
    assert "train" not in jobs
    fresh.scale(protocol={"lr": 0.07})
    jobs = fresh.planned_jobs()
    assert (jobs["train"], jobs["curvature"]) == (2, 2)


def test_a_partial_call_trains_nothing(made, fresh):
    archive.pack(plan_of(made), RUNS[:1], made.folder / "one.tar.gz")
    archive.merge(plan_of(fresh), made.folder / "one.tar.gz", silent)
    jobs = fresh.planned_jobs("--config", "partial=True")
    assert jobs["table"] == 1
    assert not {"train", "curvature", "dataset"} & set(jobs)
