"""What the page says first: the claims that answer a question, and the strip of each."""

import math
import re

import pytest
import yaml

from conftest import Project
from samscope.errors import InputError
from samscope.plan.load import load_plan
from samscope.report.answers import strip
from samscope.run.project import open_project

LINE = {
    "verdict": "not comparable", "unit": "points", "effect": 2.0, "ci_low": 1.0, "ci_high": 3.0,
    "margins": {"points": 0.5, "loss": 0.05, "ratio": 1.25},
}  # fmt: skip


def places(line: dict) -> dict[str, tuple[float, ...]]:
    """Where the parts of a strip stand, as parts of half its width from the middle."""
    found = strip(line)
    width = float(re.search(r'viewBox="0 0 (\d+)', found)[1])
    numbers = {
        "effect": r'cx="([\d.]+)"',
        "interval": r'<path d="M([\d.]+) [\d.]+H([\d.]+)"',
        "margin": r'class="margin" x="([\d.]+)" width="([\d.]+)"',
    }
    found = {name: re.search(pattern, found) for name, pattern in numbers.items()}
    return {
        name: tuple(2 * float(x) / width - 1 for x in match.groups())
        for name, match in found.items()
        if match
    }


def test_a_strip_is_on_one_scale_around_no_effect():
    at = places(LINE)
    assert at["effect"] == pytest.approx((2 / 3.3,), abs=0.01)
    assert at["interval"] == pytest.approx((1 / 3.3, 3 / 3.3), abs=0.01)
    assert at["margin"][0] == pytest.approx(-0.5 / 3.3, abs=0.01)


def test_a_ratio_is_on_the_axis_of_its_logarithm():
    at = places({**LINE, "unit": "ratio", "effect": 0.5, "ci_low": 0.25, "ci_high": 1.0})
    assert at["effect"] == pytest.approx((-1 / 2.2,), abs=0.01)
    assert at["interval"] == pytest.approx((-2 / 2.2, 0), abs=0.01)
    assert at["margin"][0] == pytest.approx(-math.log(1.25) / (1.1 * math.log(4)), abs=0.01)


def test_what_is_not_known_is_not_drawn():
    assert strip({**LINE, "effect": math.nan, "ci_low": math.nan, "ci_high": math.nan}) == ""
    alone = places({**LINE, "unit": "", "ci_low": math.nan, "ci_high": math.nan})
    assert set(alone) == {"effect"}
    assert 'class="strip not-comparable"' in strip(LINE)


def test_an_answer_by_no_claim_is_refused(tmp_path):
    project = Project(tmp_path)
    path = "workflow/papers/geometry_sam/paper.yaml"
    about = yaml.safe_load((tmp_path / path).read_text())
    assert all(answer["claims"] for answer in about["answers"])
    about["answers"][0]["claims"].append("C9.9")
    project.write(path, about)
    load_plan(project.config, tmp_path)
    with pytest.raises(InputError, match=r"answers\.claims: C9\.9 is not allowed; allowed: C0\.1"):
        open_project(project.config, tmp_path)
