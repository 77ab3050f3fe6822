"""Every reader of a foreign file, fed with what a careful hand spoils at random: one line each."""

import json
import random
from functools import partial
from pathlib import Path

import pytest

from conftest import ROOT, Project
from samscope.config.profile import Config, read_config
from samscope.config.reading import read_yaml
from samscope.config.reported import NUMBER, read_rows, reported
from samscope.config.typed import read
from samscope.errors import InputError
from samscope.plan.load import load_plan
from samscope.report import directives
from samscope.run import packed
from samscope.store import content
from samscope.store.recorded import Measured, runs_of, typed
from test_foreign_archive import SAM, run_files, sealed, under, write

PIECES = (
    *(
        b"",
        b"\0",
        b"\xff",
        b"\n",
        b",",
        b'"',
        b"{",
        b"}",
        b"[",
        b"]",
        b":",
        b" ",
        b"-",
        b"&a ",
        b"*a",
    ),
    *(
        b"1e999",
        b"nan",
        b"-1",
        b"0",
        b"true",
        b"null",
        b"<b>",
        b"\x1b[31m",
        b"9" * 400,
        b"\xe2\x80\xae",
    ),
)


def spoilt(whole: bytes, drawn: random.Random) -> bytes:
    """Some bytes with a few mistakes in them: cut, doubled, put in, taken out, or changed."""
    held = bytearray(whole)
    for _ in range(drawn.randint(1, 3)):
        at, end = sorted(drawn.randrange(len(held) + 1) for _ in range(2))
        end = min(end, at + 40)
        how = drawn.randrange(6)
        if how == 0:
            del held[at:]
        elif how == 1:
            held[at:at] = held[at:end]
        elif how == 2:
            del held[at:end]
        elif how == 3 and at < len(held):
            held[at] ^= 1 << drawn.randrange(8)
        else:
            held[at : at + how - 4] = drawn.choice(PIECES)
    return bytes(held)


def read_reported(path: Path) -> None:
    for line, raw in read_rows(path, ("model", "data", "variant", "rho", "condition")):
        reported(raw, f"{path} line {line}", "", 1)


def read_run(path: Path, cell) -> None:
    """The records of a run as JSON: metrics, then history."""
    held = json.loads(path.read_text())
    if isinstance(held, dict):
        content.check_metrics(cell, held.get("metrics"))


def read_members(path: Path) -> None:
    contents = dict(packed.members(path))
    packed.check_profile(path, contents.get(packed.PROFILE, b""), "tiny")


SPECTRUM = {
    "epoch": 1, "loss": 0.5, "converged": True, "largest": [2.0, 1.0], "density": {
        "nodes": [[1.0]], "weights": [[1.0]]}, "largest_residuals": [0.0, 0.0],
    "lambda_min": {"value": 1.0, "error": 0.1}, "leading_ratio": {"value": 1.0, "error": 0.1},
    "asymmetry": {"value": 1.0, "error": 0.1}, "trace": {"value": 1.0, "low": 0.0, "high": 2.0},
    "worst_case": {"value": 1.0}, "average_case": {"value": 1.0, "stderr": 0.1},
}  # fmt: skip
RECORD = {"settings": {}, "runs": [{"seed": 0, "digest": "d", "spectra": [SPECTRUM]}]}


def read_record(path: Path) -> None:
    for raw in runs_of(path, None):
        typed(Measured, raw, path, "runs")


@pytest.fixture(scope="module")
def plan(tmp_path_factory):
    project = Project(tmp_path_factory.mktemp("readers"))
    return load_plan(dict(project.config), project.folder)


@pytest.fixture(scope="module")
def whole(plan, tmp_path_factory):
    """By the name of a reader, itself and bytes that it takes."""
    paper = ROOT / "workflow/papers/geometry_sam"
    folder, cell = tmp_path_factory.mktemp("whole"), plan.specs[SAM].cell
    archive = write(folder / "a.tar.gz", under(sealed(run_files(plan)))).read_bytes()
    metrics = json.loads(run_files(plan)["metrics.json"])
    return {
        "reported": (read_reported, (paper / "reported/T1.csv").read_bytes()[:3000]),
        "yaml": (read_yaml, (paper / "scale/quick.yaml").read_bytes()),
        "config": (
            lambda path: read(Config, read_config(str(path)), path),
            (ROOT / "config.yaml").read_bytes(),
        ),
        "archive": (read_members, archive),
        "run": (partial(read_run, cell=cell), json.dumps({"metrics": metrics}).encode()),
        "record": (read_record, json.dumps(RECORD).encode()),
        "errata": (directives.read, (paper / "errata.md").read_bytes()),
    }


@pytest.mark.parametrize(
    "name", ["reported", "yaml", "config", "archive", "run", "record", "errata"]
)
def test_what_is_spoilt_is_read_or_refused_in_one_line(whole, tmp_path, name):
    read_one, text = whole[name]
    path, drawn, told = tmp_path / "file", random.Random(name), []
    path.write_bytes(text)
    read_one(path)
    for _ in range(200):
        path.write_bytes(spoilt(text, drawn))
        try:
            read_one(path)
        except (InputError, content.Wrong) as error:
            told.append(str(error))
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            told.append("not JSON" if name == "run" else repr(error))  # told by whoever reads it
    assert len(told) >= 5
    assert not [line for line in told if "\n" in line or len(line) > 3000 or "Error(" in line[:30]]


def test_columns_that_every_table_has_are_needed(tmp_path):
    for name in NUMBER:
        (tmp_path / "T.csv").write_text(",".join(c for c in NUMBER if c != name) + "\n")
        with pytest.raises(InputError, match=name):
            read_rows(tmp_path / "T.csv", ())
