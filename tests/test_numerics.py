"""A CPU's numbers repeat: what pins a process, and what tells that it is pinned."""

import functools
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from samscope import numerics
from samscope.errors import InputError
from samscope.run import warm

ROOT = Path(__file__).parents[1]
FLAGS = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
needs_avx2 = pytest.mark.skipif("avx2" not in FLAGS, reason="nothing to pin without AVX2")
needs_avx512 = pytest.mark.skipif(
    "avx512f" not in FLAGS, reason="without AVX-512 the pins change no number"
)
ELSEWHERE = {"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41", "MKL_CBWR": "SSE2"}
"""Variables under which this processor computes as a lesser one does."""

LIBRARIES = (
    *("ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA"),
    *("NPY_DISABLE_CPU_FEATURES", "OPENBLAS_CORETYPE"),
)

CELL = """
import hashlib, sys
from pathlib import Path
sys.path.insert(0, "tests")
from tiny_cell import tiny
from samscope.stages.train import train_cell

out = Path(sys.argv[2])
train_cell(tiny(), [0], out, sys.argv[1], lambda line: None)
for path in (out / "seed=0/weights.safetensors", out / "seed=0/history.csv"):
    print(path.name, hashlib.sha256(path.read_bytes()).hexdigest())
assert "torch._dynamo" not in sys.modules, "two seconds for a compiler that nothing needs"
"""
FINGERPRINT = "from samscope.numerics import fingerprint, pin\n{}\nprint(fingerprint())"
PINNED = FINGERPRINT.format("pin('auto')")
SHOW = "\nimport json, os\nprint(json.dumps(dict(os.environ)))"


@functools.cache
def python(code: str, *arguments: object, **variables: str) -> str:
    """What Python prints in a process that nobody pinned, with these variables."""
    clean = {k: v for k, v in os.environ.items() if k not in numerics.environment("auto")}
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        cwd=ROOT,
        env=clean | variables,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@needs_avx512
def test_without_pins_another_processor_gives_other_bytes(data_dir, tmp_path):
    here = python(CELL, data_dir, tmp_path / "here")
    assert here != python(CELL, data_dir, tmp_path / "there", **ELSEWHERE)


@needs_avx2
def test_a_pinned_cell_has_the_same_bytes_as_on_another_processor(data_dir, tmp_path):
    pinned = "from samscope.numerics import pin\npin()\n" + CELL
    here = python(pinned, data_dir, tmp_path / "here")
    assert here == python(pinned, data_dir, tmp_path / "there", **ELSEWHERE)
    assert len(here.split()) == 4


@needs_avx2
def test_a_compatible_cell_has_the_same_bytes_as_on_a_processor_of_amd(data_dir, tmp_path):
    pinned = "from benchmarks.numerics import as_amd, numerics\nnumerics.pin('compatible')\n{}\n"
    here = python(pinned.format("") + CELL, data_dir, tmp_path / "here")
    assert here == python(pinned.format("as_amd()") + CELL, data_dir, tmp_path / "there")


def test_importing_the_library_changes_nothing():
    code = "import os\nbefore = dict(os.environ)\nimport samscope\nfrom samscope.optim import SAM\n"
    code += "import samscope.numerics, samscope.run.cli, samscope.run.warm\n"
    assert python(code + "print(dict(os.environ) == before)", OMP_NUM_THREADS="2") == "True\n"


def entry(kind: str, tmp_path: Path) -> str:
    """Code that goes through an entry without work for it to do."""
    run = "import runpy, sys\ntry:\n    {}\nexcept SystemExit:\n    pass\n"
    plan = ["plan", "--config", str(tmp_path / "absent.yaml")]
    if kind == "python -m samscope":
        return f"import sys\nsys.argv[1:] = {plan}\n" + run.format(
            "runpy.run_module('samscope', run_name='__main__')"
        )
    if kind == "console script":
        found = "entry_points(group='console_scripts', name='samscope')"
        code = f"from importlib.metadata import entry_points\n(found,) = {found}\n"
        return code + f"found.load()({plan})\n"
    # A server whose workflow is gone leaves.
    socket = tmp_path / "folder" / "socket"
    socket.parent.mkdir()
    code = "import os, socket, sys\nlistening = socket.socket(socket.AF_UNIX)\n"
    code += f"listening.bind({str(socket)!r})\nlistening.listen()\n"
    code += "os.dup2(os.open(os.devnull, os.O_RDONLY), 0)\n"
    code += "sys.argv[1:] = [str(listening.detach())]\n"
    return code + run.format("runpy.run_module('samscope.run.warm', run_name='__main__')")


@pytest.mark.parametrize("kind", ["python -m samscope", "console script", "warm server"])
@pytest.mark.parametrize("mode", ["", *numerics.MODES])
def test_every_entry_is_pinned(kind, mode, tmp_path):
    handed = {numerics.MODE: mode} if mode else {}
    shown = python(entry(kind, tmp_path) + SHOW, **ELSEWHERE, OMP_NUM_THREADS="7", **handed)
    found = json.loads(shown.splitlines()[-1])
    wanted = numerics.environment(mode or "auto")
    assert {name: found.get(name) for name in wanted} == wanted


@needs_avx2
def test_a_run_of_the_workflow_records_its_pins(project):
    bare = [f"--unset={name}" for name in numerics.environment("auto")]
    cell = project.run("samscope", "plan").stdout.splitlines()[0].split()[1]
    target = f"results/tiny/runs/{cell}/metrics.json"
    done = project.run("env", *bare, "MKL_CBWR=AVX", "snakemake", "--cores", "1", target)
    assert done.returncode == 0, done.stdout
    (path, *_) = (project.folder / target).parent.glob("seed=*/provenance.json")
    source = json.loads(path.read_text())
    assert source["pins"] == {k: v for k, v in numerics.environment("auto").items() if v}
    assert source["fingerprint"] == python(PINNED).strip()


def test_rules_compute_through_the_entry():
    rules = "".join(path.read_text() for path in (ROOT / "workflow/rules").glob("*.smk"))
    commands = [line.split('"')[1] for line in rules.splitlines() if line.strip().startswith('"py')]
    assert len(commands) == rules.count("shell:")
    assert all(command.startswith("python -m samscope ") for command in commands)


def test_a_job_of_another_mode_runs_without_the_server(monkeypatch):
    server = warm.start()
    try:
        for mode in numerics.MODES:
            monkeypatch.setenv(numerics.MODE, mode)
            connection = warm._ask(["plan", "--config", "absent.yaml"])
            assert (connection is not None) == (mode == "auto")  # the server's
    finally:
        server.stdin.close()
        assert server.wait(20) == 0
        monkeypatch.delenv(warm.SERVER)


def test_pins_come_before_torch():
    late = "import torch\nfrom samscope.numerics import pin\ntry:\n    pin()\n"
    late += "except ValueError as error:\n    print(error)"
    assert "torch" in python(late)
    import torch  # noqa: F401

    numerics.pin()  # as this process is
    with pytest.raises(InputError, match="MKL_CBWR"):
        numerics.pin("compatible")
    with pytest.raises(InputError, match="auto, compatible"):
        numerics.pin("fast")


def test_a_fingerprint_repeats_and_leaves_no_trace():
    import torch

    torch.manual_seed(3)
    settings = lambda: (  # noqa: E731
        torch.get_num_threads(),
        torch.are_deterministic_algorithms_enabled(),
        torch.is_grad_enabled(),
        torch.backends.mkldnn.enabled,
        dict(os.environ),
    )
    before, state = settings(), torch.get_rng_state()
    first = numerics.fingerprint()
    numerics.fingerprint.cache_clear()
    with torch.no_grad():
        assert numerics.fingerprint() == first
    assert settings() == before
    assert torch.equal(torch.get_rng_state(), state)
    assert python(PINNED) == f"{first}\n"
    assert len(first) == 16
    int(first, 16)


def test_a_mode_has_its_own_fingerprint():
    auto, compatible = (python(FINGERPRINT.format(f"pin({m!r})")) for m in numerics.MODES)
    assert auto != compatible


@needs_avx512
@pytest.mark.parametrize("name", LIBRARIES)
def test_the_fingerprint_tells_that_a_pin_is_gone(name):
    without = f"import os\npin('auto')\ndel os.environ[{name!r}]"
    assert python(FINGERPRINT.format(without)) != python(PINNED)


@needs_avx2
def test_the_references_are_met():
    """On the processors that were tried; another may well differ, and then say so."""
    import torch

    if torch.__version__.split("+")[0] != "2.15.0":
        pytest.skip("the references are of torch 2.15.0")
    found = python(FINGERPRINT.format("pin('compatible')")).strip()
    if found == numerics.OTHERS["compatible"]:
        assert python(FINGERPRINT.format("pin('auto')")).strip() == numerics.OTHERS["auto"]
        return
    assert found == numerics.REFERENCES["compatible"]
    amd = "pin('auto')\nfrom benchmarks.numerics import as_amd\nas_amd()"
    assert python(FINGERPRINT.format(amd)).strip() == numerics.REFERENCES["auto"]


def test_what_promises_bits():
    assert not numerics.verdicts_only(None)  # the committed records
    assert not any(map(numerics.verdicts_only, numerics.REFERENCES.values()))
    assert numerics.verdicts_only("0123456789abcdef")
