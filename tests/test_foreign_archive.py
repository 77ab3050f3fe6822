"""Archives that are whole and hold no records: refused before anything is put, in one line each."""

import gzip
import hashlib
import io
import json
import shutil
import tarfile

import pytest

import tiny_cell
from conftest import Project
from samscope.errors import InputError
from samscope.optim.bins import PERSISTENCE, RATIOS
from samscope.plan.load import load_plan
from samscope.run import archive, packed
from samscope.store import content, records, state

SAM = "cnn3-digits/sam/rho=0.2"


@pytest.fixture(scope="module")
def plan(tmp_path_factory):
    """Of two cells with two seeds."""
    project = Project(tmp_path_factory.mktemp("foreign"))
    return load_plan(dict(project.config), project.folder)


def run_files(plan, seed: int = 0) -> dict[str, bytes]:
    """The small files of a run, as a training writes them."""
    cell = plan.specs[SAM].cell
    pair = {"best_val": 1.5, "last": 1.5}
    names = ("loss", "acc_percent")
    metrics = {f"{s}_{n}": pair for s in ("train", "val", "test") for n in names}
    metrics |= {"epochs": 2, "best_epoch": 1, "diverged": False}
    columns = records.columns(cell)
    rows = [{"seed": seed, "epoch": n, "lr": 0.1, "train_loss": 1.0} for n in (1, 2)]
    spec = {"digest": cell.digest(seed), "seed": seed, "cell": cell.to_dict()}
    return {
        "spec.json": records.to_json(spec).encode(),
        "metrics.json": records.to_json(metrics).encode(),
        "history.csv": records.to_csv(rows, columns).encode(),
        "ratios.csv": records.to_csv([], RATIOS).encode(),
        "persistence.csv": records.to_csv([], PERSISTENCE).encode(),
    }


def sealed(files: dict[str, bytes]) -> dict[str, bytes]:
    """The files and a provenance with their right checksums."""
    sums = {name: hashlib.sha256(held).hexdigest() for name, held in files.items()}
    return {**files, "provenance.json": json.dumps({"sha256": sums, "seconds": 1.0}).encode()}


def write(path, members: dict[str, bytes]):
    """An archive of these members."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as tar:
        for name, held in {
            "profile.json": b'{"profile": "tiny"}',
            **members,
        }.items():
            member = tarfile.TarInfo(name)
            member.size = len(held)
            tar.addfile(member, io.BytesIO(held))
    path.write_bytes(gzip.compress(made.getvalue(), 1))
    return path


def under(files: dict[str, bytes], seed: int = 0, cell: str = SAM) -> dict[str, bytes]:
    return {f"runs/{cell}/seed={seed}/{name}": held for name, held in files.items()}


def refuse(plan, path, *words: str) -> None:
    """Nothing is put; what is said is one line each, and none of it long."""
    lines: list[str] = []
    with pytest.raises(InputError) as error:
        archive.merge(plan, path, lines.append)
    told = [*lines, str(error.value)]
    assert all(line.isprintable() and len(line) < 1000 for line in told)
    assert len(told) <= 12
    for word in words:
        assert word in "\n".join(told)
    assert not (plan.results / "runs").exists()


def test_what_a_training_writes_is_taken(plan, tmp_path):
    path = write(tmp_path / "a.tar.gz", under(sealed(run_files(plan))))
    assert archive.merge(plan, path, print) == (1, 0)
    assert (plan.run_dir(SAM) / "metrics.json").exists()
    shutil.rmtree(plan.results)


DEEP = b"[" * 100_000


@pytest.mark.parametrize(
    ("name", "old", "new", "word"),
    [
        ("metrics.json", None, b"{}", "metrics.json has no train_loss"),
        ("metrics.json", None, DEEP, "recursion"),
        ("metrics.json", None, b"[]", "metrics.json holds no JSON object"),
        ("metrics.json", b'"last": 1.5', b'"last": 1e999', "not a finite number"),
        ("metrics.json", b'"last": 1.5', b'"last": "1"', "not a finite number"),
        ("metrics.json", b'"last": 1.5', b'"last": 5000', "5000, not 0 to 100"),
        ("metrics.json", b'"last": 1.5', b'"other": 1.5', "is no pair of best_val and last"),
        ("metrics.json", b'"epochs": 2', b'"epochs": 3', "epochs 3"),
        ("metrics.json", b'"epochs": 2', b'"epochs": 1', "epochs 1"),
        ("metrics.json", b'"epochs": 2', b'"epochs": true', "epochs True"),
        ("metrics.json", b'"best_epoch": 1', b'"best_epoch": 9', "best_epoch 9"),
        ("metrics.json", b'"diverged": false', b'"diverged": 0', "diverged 0"),
        ("history.csv", None, b"", "history.csv has other columns"),
        ("history.csv", None, b"one line\n", "history.csv has other columns"),
        ("history.csv", None, b"\xff\xfe\0\1", "codec can't decode"),
        ("history.csv", None, b"<html><body>404</body></html>\n", "other columns: '<html>"),
        ("history.csv", b"\n0,1,", b"\n1,1,", "numbers of seed 0"),
        ("history.csv", b"\n0,2,", b"\n0,3,", "epoch 2 is of seed 0, epoch 3"),
        ("history.csv", b"\n0,1,0.1,", b"\n0,1,nan,", "something else than numbers"),
        ("history.csv", b"\n0,1,0.1,", b"\n0,1,1e999,", "lr is inf"),
        ("history.csv", b"\n0,1,0.1,1.0", b"\n0,1,0.1,-1", "train_loss is -1.0"),
        ("history.csv", b"\n0,1,", b"\n0,1,1,", "a line is cut"),
        ("ratios.csv", None, b"<html></html>\n", "ratios.csv has other columns"),
        ("persistence.csv", b"chance\n", b"chance\n0,<b>,,,,,,,,,\n", "persistence.csv holds"),
        ("spec.json", None, DEEP, "record"),
        ("spec.json", None, b"{}", "record"),
        ("spec.json", b'"seed": 0', b'"seed": 1', "another run"),
    ],
)
def test_right_checksums_of_wrong_content(plan, tmp_path, name, old, new, word):
    files = run_files(plan)
    assert old is None or old in files[name]
    count = -1 if new.endswith(b"5000") else 1
    files[name] = new if old is None else files[name].replace(old, new, count)
    path = write(tmp_path / "a.tar.gz", under(sealed(files)))
    refuse(plan, path, "runs/cnn3-digits/sam/rho=0.2/seed=0: record: ", word, "1 of 1 refused")


LINE = {"a": [0.0, 1.0], "b": [0.0], "about": {"kind": "line", "digest": "d"}}


@pytest.mark.parametrize(
    ("settings", "table", "word"),
    [
        (LINE, b"<html></html>\n", "0 whole ones"),
        (LINE, b"", "0 whole ones"),
        (LINE, b"a,b,loss,accuracy\n0.0,0.0,1.0,50.0\n", "1 whole ones"),
        (LINE, b"a,b,loss,accuracy\n0.0,0.0,1.0,50.0\n1.0,0.0,1.0,101.0\n", "no surface of the"),
        (LINE, b"a,b,loss,accuracy\n0.0,0.0,,\n1.0,0.0,,\n<html>\n", "no surface of the kind line"),
        ({**LINE, "about": {"kind": "random"}}, None, "no surface of the kind line"),
        ({**LINE, "about": []}, None, "landscape-line.json says nothing about it"),
        ({**LINE, "b": []}, None, "modulo by zero"),
        ({**LINE, "a": 3}, None, "not iterable"),
        ({"a": [], "b": [0.0], "about": {"kind": "line"}}, b"a,b,loss,accuracy\n", "no surface"),
        (None, None, "missing or damaged"),
    ],
)
def test_surfaces_that_are_none(plan, tmp_path, settings, table, word):
    whole = b"a,b,loss,accuracy\n0.0,0.0,1.0,50.0\n1.0,0.0,,\n"
    files = {"landscape-line.csv": whole if table is None else table}
    files |= {"landscape-line.json": json.dumps(settings).encode()} if settings else {}
    held = under(sealed(run_files(plan)) | files)
    refuse(plan, write(tmp_path / "a.tar.gz", held), "record: landscape-line.", word)


def test_a_surface_is_taken(plan, tmp_path):
    files = {"landscape-line.csv": b"a,b,loss,accuracy\n0.0,0.0,1.0,50.0\n1.0,0.0,,\n"}
    files |= {"landscape-line.json": json.dumps(LINE).encode()}
    path = write(tmp_path / "a.tar.gz", under(sealed(run_files(plan)) | files))
    assert archive.merge(plan, path, print) == (1, 0)
    shutil.rmtree(plan.results)


@pytest.mark.parametrize("source", [b"", b"{}", b"[]", DEEP, b'{"sha256": 3}', b"\xff"])
def test_a_provenance_that_is_none(plan, tmp_path, source):
    files = {**run_files(plan), "provenance.json": source}
    refuse(plan, write(tmp_path / "a.tar.gz", under(files)), "1 of 1 refused")


def test_a_run_that_is_not_planned(plan, tmp_path):
    refuse(plan, write(tmp_path / "a.tar.gz", under(sealed(run_files(plan, 7)), 7)),
           "seed=7: seed: 7 is not allowed; allowed: one that is planned: 0 to 1")  # fmt: skip
    many = {f"runs/a/b/{n}/seed=0/metrics.json": b"{}" for n in range(3000)}
    refuse(plan, write(tmp_path / "b.tar.gz", many), "and 2990 more", "3000 of 3000 refused")


@pytest.mark.parametrize(
    "name",
    [
        f"runs/{SAM}/seed=0/evil.so", f"runs/{SAM}/seed=0/-rf", f"runs/{SAM}/seed=0/a\nb.json",
        f"runs/{SAM}/seed=0/metrics.json\n", f"runs/{SAM}/seed=٣/metrics.json",
        "runs/-rf/sgd/base/seed=0/metrics.json", "runs/a/\x1b[31m/base/seed=0/metrics.json",
        f"runs/{'a/' * 3000}seed=0/metrics.json", "runs/a/b/seed=0/metrics.json",
        "runs/a/../b/seed=0/metrics.json", f"runs/{'a' * 300}/b/c/seed=0/metrics.json",
    ],
)  # fmt: skip
def test_names_that_no_record_has(plan, tmp_path, name):
    refuse(plan, write(tmp_path / "a.tar.gz", {name: b"{}"}), "a.tar.gz: member: ")


def test_one_file_twice(plan, tmp_path):
    name = f"runs/{SAM}/seed=0/metrics.json"
    path = write(tmp_path / "a.tar.gz", {name: b"{}", f"./{name}": b"[]"})
    refuse(plan, path, "a.tar.gz: member: ", "each once")


@pytest.mark.parametrize("profile", [b"", b"[]", b"{}", DEEP, b'{"profile": ["tiny"]}', b"\xff"])
def test_an_archive_of_no_profile(plan, tmp_path, profile):
    path = write(tmp_path / "a.tar.gz", {"profile.json": profile, **under(run_files(plan))})
    refuse(plan, path, "profile.json: ", "choose with --profile")


def test_what_unpacks_to_more_than_records_are(plan, tmp_path, monkeypatch):
    monkeypatch.setattr(packed, "LARGEST", 2**20)
    monkeypatch.setattr(packed, "SLACK", 2**20)
    zeros, name = bytes(2**20), "runs/{}/b/c/seed=0/metrics.json"
    path = write(tmp_path / "a.tar.gz", {name.format("a"): zeros + b"1"})
    refuse(plan, path, "a.tar.gz: runs/a/b/c/seed=0/metrics.json: 1048577 bytes")
    path = write(tmp_path / "b.tar.gz", {name.format(f"a{n}"): zeros for n in range(8)})
    refuse(plan, path, "b.tar.gz: content: larger than records are")
    # A header that says it is long is read by tarfile itself, before anyone sees a name.
    long = tarfile.TarInfo("././@PaxHeader")
    long.type, long.size = tarfile.XHDTYPE, 2**22
    tar = gzip.compress(long.tobuf(tarfile.PAX_FORMAT) + bytes(2**22 + 1024), 9)
    (tmp_path / "c.tar.gz").write_bytes(tar)
    refuse(plan, tmp_path / "c.tar.gz", "c.tar.gz: content: larger than records are")


def test_the_check_is_of_the_cell(plan):
    """A history in steps, and of a run that diverged."""
    cell = tiny_cell.tiny(steps=20, report_every=10)
    rows = [{"seed": 0, "step": step, "lr": 0.1, "train_loss": None} for step in (10, 20)]
    content.check_history(cell, 0, rows)
    with pytest.raises(content.Wrong, match="step 10 is of seed 0, step 20"):
        content.check_history(cell, 0, rows[1:])


@pytest.mark.parametrize("body", [b"[]\n", b"{}\n", DEEP, b'{"digest": "d", "x": 1}\n', b"\xff"])
def test_a_state_that_is_none_is_passed_over(tmp_path, body):
    sealed_state = hashlib.sha256(body).hexdigest().encode() + b"\n" + body
    (tmp_path / state.NEWEST).write_bytes(sealed_state)
    lines: list[str] = []
    assert state.load(tmp_path, "d", lines.append) is None
    assert len(lines) == 1
    assert "passed over" in lines[0]
