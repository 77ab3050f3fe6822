"""What is written never replaces what is somebody else's, and two writers lose nothing."""

import os
import shutil
import threading

import pytest

from samscope.analysis import results
from samscope.errors import InputError
from samscope.plan.load import load_plan
from samscope.run import archive, cli, packed
from samscope.store import records

SAM = "cnn3-digits/sam/rho=0.2"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--out", "w.pt"], "out: w.pt is not allowed; allowed: a free name, or a measurement"),
        (["--out", "link.json"], "out: link.json is not allowed"),
        (["--out", "notes.json"], "out: notes.json is not allowed"),
        (["--out", "folder"], "out: folder is not allowed"),
        (["--out", "w.pt/a.json"], "out: "),
        (["--rho", "0"], "rho: 0.0 is not allowed; allowed: a number above 0"),
        (["--rho", "nan"], "rho: nan"),
        (["--rho", "inf"], "rho: inf"),
        (["--rho=-1"], "rho: -1.0"),
        (["--top", "0"], "top: 0"),
        (["--images", "1"], "images: 1"),
        (["--seed=-1"], "seed: -1"),
    ],
)
def test_an_output_is_checked_before_anything_is_measured(
    tmp_path, monkeypatch, capsys, options, words
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "w.pt").write_bytes(b"mine")  # no weights: nothing gets so far as to read it
    (tmp_path / "notes.json").write_text('{"weights": "by hand"}')
    (tmp_path / "link.json").symlink_to("w.pt")
    (tmp_path / "folder").mkdir()
    names = ["--weights", "w.pt", "--model", "cnn3", "--data", "digits"]
    assert cli.main(["measure", "curvature", *names, *options]) == 2
    assert words in capsys.readouterr().err
    assert (tmp_path / "w.pt").read_bytes() == b"mine"
    assert (tmp_path / "notes.json").read_text() == '{"weights": "by hand"}'


@pytest.fixture
def plan(project):
    """A plan of which twelve runs left a file, which no packing looks into."""
    found = load_plan(dict(project.config), project.folder)
    for seed in range(12):
        folder = found.run_dir(SAM) / f"seed={seed}"
        folder.mkdir(parents=True)
        (folder / "metrics.json").write_text(f"of {seed}")
    return found


@pytest.mark.parametrize("name", ["made.tar.gz", "made.tar.xz"])
def test_two_that_pack_into_one_file_lose_no_run(plan, tmp_path, name):
    path = tmp_path / "packed" / name

    def queue(seeds: range) -> None:
        for seed in seeds:
            archive.pack(plan, [(SAM, seed)], path)

    both = [threading.Thread(target=queue, args=(range(n, 12, 2),)) for n in (0, 1)]
    for one in both:
        one.start()
    for one in both:
        one.join()
    held = dict(packed.members(path))
    assert held.pop(packed.PROFILE)
    expected = {f"runs/{SAM}/seed={n}/metrics.json": f"of {n}".encode() for n in range(12)}
    assert held == expected


def at_once(count: int, act) -> list[int]:
    """Do something in so many processes, all of which begin together; their exit statuses."""
    ready, go = os.pipe()
    children = []
    for number in range(count):
        child = os.fork()
        if child == 0:
            os.close(go)
            os.read(ready, 1)  # until the last of them is there
            status = 1
            try:
                act(number)
                status = 0
            finally:
                os._exit(status)
        children.append(child)
    os.close(ready)
    os.close(go)
    return [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]


def test_processes_that_unpack_at_once_all_go_on(plan):
    """As two queues do that are started in a fresh clone."""
    packed_runs = plan.results.with_suffix(".tar.xz")
    archive.pack(plan, [(SAM, seed) for seed in range(12)], packed_runs)
    for _ in range(5):
        shutil.rmtree(plan.results)
        (plan.results / ".runs/half").mkdir(parents=True)  # what a killed one left
        assert at_once(6, lambda number: archive.take(plan, lambda line: None)) == [0] * 6
        found = {path.name for path in plan.run_dir(SAM).iterdir()}
        assert {f"seed={seed}" for seed in range(12)} <= found
        assert not (plan.results / ".runs").exists()


def test_processes_that_write_one_table_at_once_all_go_on(tmp_path):
    def write(number: int) -> None:
        for _ in range(50):
            results.put(tmp_path / "T1.csv", f"{number}" * 100_000)

    assert at_once(4, write) == [0] * 4
    assert len(set((tmp_path / "T1.csv").read_text())) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["T1.csv"]


def test_what_was_trained_while_an_archive_was_read_is_kept(plan, tmp_path, monkeypatch):
    path = tmp_path / "made.tar.gz"
    archive.pack(plan, [(SAM, 0)], path)
    shutil.rmtree(plan.results)
    news = archive._news

    def trained_meanwhile(plan, run, source):
        here = archive._folder(plan, *run)
        if here.exists():
            return []
        here.mkdir(parents=True)
        (here / "weights.safetensors").write_text("mine")
        return ["metrics.json"]

    monkeypatch.setattr(archive, "_news", trained_meanwhile)
    archive.merge(plan, path, print)
    monkeypatch.setattr(archive, "_news", news)
    assert (plan.run_dir(SAM) / "seed=0/weights.safetensors").read_text() == "mine"


def test_packing_fewer_runs_keeps_those_that_are_there(plan, tmp_path):
    path = tmp_path / "made.tar.gz"
    assert archive.pack(plan, [(SAM, 0), (SAM, 1)], path) == 2
    (plan.run_dir(SAM) / "seed=0/metrics.json").write_text("anew")
    assert archive.pack(plan, [(SAM, 0)], path) == 2
    held = dict(packed.members(path))
    assert held[f"runs/{SAM}/seed=0/metrics.json"] == b"anew"
    assert held[f"runs/{SAM}/seed=1/metrics.json"] == b"of 1"


def test_a_file_that_is_no_archive_of_the_profile_is_not_packed_over(plan, tmp_path):
    for name in ("notes.txt", "other.tar.gz"):
        (tmp_path / name).write_bytes(b"mine")
        with pytest.raises(InputError, match=name):
            archive.pack(plan, [(SAM, 0)], tmp_path / name)
        assert (tmp_path / name).read_bytes() == b"mine"


def test_a_lock_empties_nothing_that_a_link_leads_to(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    (tmp_path / "cell").mkdir()
    (tmp_path / "cell/.lock").symlink_to(tmp_path / "mine.txt")
    with records.locked(tmp_path / "cell", print):
        pass
    assert (tmp_path / "mine.txt").read_text() == "mine"
