"""The pages of docs/ do as they say: their code runs, the examples run, the site is whole."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = ("optimizer", "curvature")
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
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


def script(page, folder):
    """A page's code from top to bottom; a line of it has the number that it has on the page."""
    text = (ROOT / "docs" / f"{page}.md").read_text()
    blocks = list(BLOCK.finditer(text))
    assert len(blocks) > 5
    code = ""
    for block in blocks:
        code += "\n" * (text[: block.start(1)].count("\n") - code.count("\n")) + block[1]
    path = folder / f"{page}.py"
    path.write_text(code)
    return path


RUN = """
import runpy, sys
for path in sys.argv[1:]:
    print("script:", path)
    runpy.run_path(path, run_name="__main__")
"""


@pytest.fixture(scope="module")
def said(tmp_path_factory):
    """What the pages' code and the examples print, by name; one process imports torch for all."""
    folder = tmp_path_factory.mktemp("pages")
    paths = [*(script(page, folder) for page in PAGES), *EXAMPLES]
    out = python("-W", "error::UserWarning", "-c", RUN, *paths)
    parts = (part.partition("\n") for part in out.split("script: ")[1:])
    return {Path(path).stem: text for path, _, text in parts}


@pytest.mark.parametrize("page", PAGES)
def test_the_code_of_a_page_runs_from_top_to_bottom(said, page):
    assert page in said


def test_the_example_of_the_optimizer_learns_less_by_heart_with_sam(said):
    scores = [float(score) for score in re.findall(r"accuracy (\S+) %", said["sam_in_your_loop"])]
    assert len(scores) == 4
    assert scores[-1] > scores[0] + 3


def test_the_example_of_curvature_finds_the_edge_of_stability(said):
    found = re.findall(r"lambda_max (\S+), .* is (\S+)", said["curvature_of_your_model"])
    assert len(found) == 2
    assert [float(top) for top, _ in found] == pytest.approx([float(e) for _, e in found], rel=0.1)


@pytest.mark.parametrize("example", EXAMPLES)
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
