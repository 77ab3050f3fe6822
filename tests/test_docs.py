"""The pages of docs/ do as they say: their code runs, the examples run, the site is whole."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = ("optimizer", "curvature")
BLOCK = re.compile(r"^```python\n(.*?)^```", re.M | re.S)
REFERENCE = {
    "optim": ("samscope.optim.SAM", "samscope.optim.SAM.step", "samscope.optim.named_mix"),
    "measure": ("samscope.measure.curvature", "samscope.measure.MeanLoss"),
}


def python(*command):
    """Run Python on one thread, as torchrun would start the only rank; its output."""
    alone = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1"}
    paths = {"PYTHONPATH": str(ROOT / "src"), "MASTER_PORT": "0", "OMP_NUM_THREADS": "1"}
    quiet = {"NO_MKDOCS_2_WARNING": "1"}
    run = subprocess.run(
        [sys.executable, *map(str, command)],
        cwd=ROOT, env=os.environ | alone | paths | quiet, capture_output=True, text=True,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    return run.stdout


@pytest.mark.parametrize("page", PAGES)
def test_the_code_of_a_page_runs_from_top_to_bottom(page, tmp_path):
    """As one script, in which a line of code has the number that it has on the page."""
    text = (ROOT / "docs" / f"{page}.md").read_text()
    blocks = list(BLOCK.finditer(text))
    assert len(blocks) > 5
    script = ""
    for block in blocks:
        script += "\n" * (text[: block.start(1)].count("\n") - script.count("\n")) + block[1]
    path = tmp_path / f"{page}.py"
    path.write_text(script)
    python("-W", "error::UserWarning", path)


def test_the_example_of_the_optimizer_learns_less_by_heart_with_sam():
    out = python("examples/sam_in_your_loop.py")
    scores = [float(score) for score in re.findall(r"accuracy (\S+) %", out)]
    assert len(scores) == 4
    assert scores[-1] > scores[0] + 3


def test_the_example_of_curvature_finds_the_edge_of_stability():
    out = python("examples/curvature_of_your_model.py")
    found = re.findall(r"lambda_max (\S+), .* is (\S+)", out)
    assert len(found) == 2
    assert [float(top) for top, _ in found] == pytest.approx([float(e) for _, e in found], rel=0.1)


@pytest.mark.parametrize("example", sorted((ROOT / "examples").glob("*.py")))
def test_an_example_is_short(example):
    assert example.read_text().count("\n") < 60


def test_the_site_is_whole(tmp_path):
    """Strict: no link without an end, no name of the reference that is not there."""
    python("-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", tmp_path)
    for page in PAGES:
        assert (tmp_path / page / "index.html").exists()
    for page, names in REFERENCE.items():
        text = (tmp_path / "reference" / page / "index.html").read_text()
        assert [name for name in names if f'id="{name}"' not in text] == []
