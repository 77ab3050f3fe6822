"""What the page says first: the claims that answer a question, and the strip of each."""

import math
import re

import pytest
import yaml
from markupsafe import Markup

from conftest import Project
from samscope.analysis import scope, verdicts
from samscope.analysis.agreement import AGREEMENTS
from samscope.errors import InputError
from samscope.plan.load import load_plan
from samscope.report.answers import LEADS, found, strip
from samscope.report.build import GLOSSARY, PROSE
from samscope.report.text import terms, word
from samscope.run.project import open_project

LINE = {
    "verdict": "not comparable", "unit": "points", "effect": 2.0, "ci_low": 1.0, "ci_high": 3.0,
    "margins": {"points": 0.5, "loss": 0.05, "ratio": 1.25}, "at": "rho 0.2",
    "parts": [{"at": "rho 0.1", "pairs": [9.0]}, {"at": "rho 0.2", "pairs": [1.5, 2.5]}],
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


def labels(line: dict) -> list[str]:
    return re.findall(r"<text [^>]*>([^<]*)</text>", strip(line))


def test_axes_end_at_round_numbers_beyond_all_that_is_drawn():
    ends = {0.03: "+0.05", 0.2: "+0.2", 0.7: "+1", 12.0: "+20", 51.0: "+100"}
    for high, end in ends.items():
        line = {**LINE, "parts": [], "margins": {}, "effect": 0.0, "ci_low": 0.0, "ci_high": high}
        assert labels(line)[2] == f"{end} points"
    far = {**LINE, "parts": [], "unit": "ratio", "effect": 40.0, "ci_low": 5.0, "ci_high": 320.0}
    assert labels(far)[2] == "×1e+03"


def test_a_strip_is_on_one_scale_around_no_effect():
    at = places(LINE)
    assert at["effect"] == pytest.approx((2 / 5,), abs=0.01)
    assert at["interval"] == pytest.approx((1 / 5, 3 / 5), abs=0.01)
    assert at["margin"][0] == pytest.approx(-0.5 / 5, abs=0.01)
    assert labels(LINE) == ["−5", "0", "+5 points"]


def test_each_seed_is_a_dot_on_the_same_scale():
    dots = re.search(r'class="seeds" d="([^"]*)"', strip(LINE))[1]
    at = [float(x) / 110 - 1 for x in re.findall(r"M([\d.]+)", dots)]
    assert at == pytest.approx([1.5 / 5, 2.5 / 5], abs=0.01)
    wide = {**LINE, "parts": [{"at": "rho 0.2", "pairs": [-7.0, 11.0]}]}
    assert labels(wide)[2] == "+20 points"
    assert "seeds" not in strip({**LINE, "parts": [{"at": "rho 0.2", "pairs": []}]})


def test_the_paper_s_own_effect_is_a_diamond_on_the_same_scale():
    line = {**LINE, "parts": [{"at": "rho 0.2", "printed": [-4.0, 1.0]}]}
    at = [float(x) / 110 - 1 for x in re.findall(r'class="printed" d="M([\d.]+)', strip(line))]
    assert at == pytest.approx([-4 / 5, 1 / 5], abs=0.01)
    assert "the paper’s own effect marked" in strip(line)
    assert "printed" not in strip(LINE)
    beyond = {**LINE, "parts": [{"at": "rho 0.2", "printed": [30.0]}]}
    assert labels(beyond)[2] == "+50 points"


def test_a_ratio_is_on_the_axis_of_its_logarithm():
    line = {**LINE, "parts": [], "unit": "ratio", "effect": 0.5, "ci_low": 0.25, "ci_high": 1.0}
    at = places(line)
    assert labels(line) == ["×0.2", "×1", "×5"]
    reach = math.log(5)
    assert at["effect"] == pytest.approx((-math.log(2) / reach,), abs=0.01)
    assert at["interval"] == pytest.approx((-math.log(4) / reach, 0), abs=0.01)
    assert at["margin"][0] == pytest.approx(-math.log(1.25) / reach, abs=0.01)


def test_what_is_not_known_is_not_drawn():
    assert strip({**LINE, "effect": math.nan, "ci_low": math.nan, "ci_high": math.nan}) == ""
    alone = places({**LINE, "parts": [], "unit": "", "ci_low": math.nan, "ci_high": math.nan})
    assert set(alone) == {"effect"}
    assert 'class="strip not-comparable"' in strip(LINE)


@pytest.mark.parametrize("verdict", verdicts.VERDICTS)
def test_a_sentence_says_what_the_verdict_says_and_no_more(verdict):
    part = {"n": 5, "at": "rho 0.2", "pairs": []}
    line = {
        **LINE, "verdict": verdict, "n": 5.0, "at": "rho 0.2", "parts": [part, part],
        "fragile": "", "reason": "not significant at rho 0.2; effects as found take about 9 seeds",
    }  # fmt: skip
    told = found(line)
    assert {name for name, lead in LEADS.items() if lead in told} == {verdict}
    assert "+2.0 points [+1.0, +3.0] at rho 0.2, the least favourable of 2, over 5 seeds." in told
    assert ("Effects as found take about 9 seeds." in told) == (verdict == "inconclusive")
    assert "Fragile: p 0.04." in found({**line, "fragile": "p 0.04"})
    idle = {"n": math.nan, "effect": math.nan, "ci_low": math.nan, "ci_high": math.nan}
    assert found({**line, **idle, "reason": ""}) == LEADS[verdict]


@pytest.mark.parametrize(
    ("place", "field"), [("answers", "answers"), ("figures", "figures accuracy_vs_rho")]
)
def test_an_answer_or_a_figure_by_no_claim_is_refused(tmp_path, place, field):
    project = Project(tmp_path)
    path = "workflow/papers/geometry_sam/paper.yaml"
    about = yaml.safe_load((tmp_path / path).read_text())
    about[place][0]["claims"].append("C9.9")
    project.write(path, about)
    load_plan(project.config, tmp_path)
    told = rf"{field}.claims: C9\.9 is not allowed; allowed: C0\.1"
    with pytest.raises(InputError, match=told):
        open_project(project.config, tmp_path)


def test_what_labels_a_claim_a_number_or_evidence_is_a_word_of_the_glossary():
    labels = {*verdicts.VERDICTS, *scope.LEVELS, *AGREEMENTS}
    asked = {"region", "g", "h", "ckpt", "condition", "lambda_max", "rho"}
    assert labels | asked <= set(GLOSSARY)
    assert labels.isdisjoint(PROSE)
    assert len({word(name) for name in GLOSSARY}) == len(GLOSSARY)


def test_a_word_leads_to_its_meaning_where_it_comes_first():
    told = terms("ckpt12 at rho 0.2 and rho 0.4, sameckpt1 <b>", ["ckpt", "rho"])
    assert told == (
        '<a class="term" href="#word-ckpt">ckpt12</a> at <a class="term" href="#word-rho">rho</a> '
        "0.2 and rho 0.4, sameckpt1 &lt;b&gt;"
    )
    assert terms(Markup("<code>rho</code> &amp; <i>rhos</i>"), ["rho", "amp", "i"]) == (
        '<code>rho</code> &amp; <i><a class="term" href="#word-rho">rhos</a></i>'
    )
