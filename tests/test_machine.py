"""The machine's ways: long paths, a terminal without signs, two numbers that differ late."""

import os
import subprocess
import sys
from pathlib import Path

from samscope.plan.rows import written
from samscope.run import cli, warm
from samscope.spec import Fit
from tiny_cell import tiny


def test_a_temporary_directory_too_long_for_a_socket(tmp_path, monkeypatch):
    """The server's socket is elsewhere, and nothing is left where it could not be."""
    long = tmp_path / ("x" * 100)
    long.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(long))
    monkeypatch.setenv(warm.SERVER, "")
    server = warm.start()
    path = Path(os.environ[warm.SERVER])
    assert len(str(path)) < 100
    assert server is not None
    server.stdin.close()
    assert server.wait(30) == 0
    assert not path.parent.exists()
    assert not list(long.iterdir())


def test_a_machine_without_sockets_goes_on_without_a_server(tmp_path, monkeypatch):
    def none(*args: object) -> None:
        raise OSError("AF_UNIX path too long")

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(warm, "_listening", none)
    assert warm.start() is None
    assert not list(tmp_path.iterdir())


def test_a_terminal_without_the_sign_of_plus_or_minus(tmp_path):
    code = (
        "from samscope.run import cli; cli._plan = lambda args: print('1 ± 2'); cli.main(['plan'])"
    )
    env = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)
    assert done.stdout == "1 \\xb1 2\n"


def test_escape_sequences_of_a_file_do_not_reach_the_terminal(capsys, monkeypatch):
    assert cli.main(["plan", "--config", "\x1b[31mred"]) in (1, 2)
    told = capsys.readouterr().err
    assert "red" in told
    assert told[:-1].isprintable()


def test_results_that_are_read_only_can_be_looked_at(project, monkeypatch, capsys):
    (project.folder / "results/tiny").mkdir(parents=True)
    (project.folder / "data").mkdir()
    (project.folder / "results/tiny.tar.xz").write_bytes(b"unread")
    monkeypatch.chdir(project.folder)
    monkeypatch.setattr(os, "access", lambda path, mode: not mode & os.W_OK)
    assert cli.main(["plan"]) == 0
    said = capsys.readouterr()
    assert said.out.endswith("tiny: 2 cells, 4 runs, 0 made\n")
    assert said.err == "tiny: results/tiny is read only, its records stay packed\n"
    assert cli.main(["report", "--where"]) == 0
    assert capsys.readouterr().out == "results/tiny/report/index.html\n"
    assert cli.main(["queue"]) == 2
    assert "results/tiny is not allowed; allowed: a writable folder" in capsys.readouterr().err


def test_numbers_that_differ_late_have_ids_that_differ():
    one, other = tiny(rho=0.1), tiny(rho=0.1000000001)
    assert one.id.endswith("/rho=0.1")
    assert other.id.endswith("/rho=0.1000000001")
    assert written(0.1) != written(0.1000000001)
    fit = {"model": "random_fourier", "data": "digits", "train_size": 100, "split_seed": 0}
    ids = {Fit.from_dict({**fit, "scale": 1.0, "width": w}).id for w in (1.0, 1.0000000001)}
    assert len(ids) == 2


STEPS = """
import resource, sys, torch
from samscope.stages.bench import Bench

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

if sys.argv[1] == "kept":
    Bench("data")
for step in range(40):
    begin = faults() if step == 20 else begin if step else 0
    layers = [torch.ones(2**20) for _ in range(4)]  # 4 MiB each, 1,024 pages
    del layers
print(faults() - begin)
"""


def test_a_step_takes_the_memory_that_the_last_one_freed():
    commands = ([sys.executable, "-c", STEPS, how] for how in ("as is", "kept"))
    without, kept = (int(subprocess.check_output(command)) for command in commands)
    assert without > 20 * 1024 > 20 * kept
