"""The pictures of the page: which there are, what they may do, and their colours."""

import re

import pandas as pd
import pytest

from pages import CLAIMS, Page, page, words
from samscope.analysis import figures, verdicts
from samscope.plan.load import load_plan
from samscope.report import drawn, svg
from samscope.report.cells import HEIGHT, POINTS, WIDTH, sparkline
from samscope.report.text import effect
from small_study import (
    LANDSCAPE,
    ROOT,
    STUDY,
    edited,
    record_all,
    study,
)


@pytest.fixture
def plan(tmp_path):
    plan = study(tmp_path, CLAIMS)
    record_all(plan)
    return plan


def test_a_figure_for_a_paper_is_vectors_and_the_same_bytes(plan):
    first, second = (figures.draw(plan, STUDY, "lambda_max").pdf() for _ in range(2))
    assert first == second
    assert first.startswith(b"%PDF")
    assert b"/Font" in first
    assert b"CreationDate" not in first


def test_figures_are_those_that_were_drawn(plan, monkeypatch):
    def draw(*_):
        raise AssertionError("the page draws nothing")

    figures.write(plan, STUDY, "lambda_max")
    path = plan.results / "figures/geometry_sam/lambda_max.svg"
    caption = figures.draw(plan, STUDY, "lambda_max").caption
    path.write_text(path.read_text().replace("train loss", "loss of the trained"))
    picture = plan.results / "report/pictures/geometry_sam-lambda_max.svg"
    monkeypatch.setattr(figures, "draw", draw)
    text = page(plan)
    assert "loss of the trained" in picture.read_text()
    assert caption in words(text)
    made = {"curvature", "landscape"}  # of all stages that measure, those of this study
    others = [kind for kind in figures.kinds().values() if made >= {*kind.needs}]
    assert text.count("Not drawn yet.") == len(others) - 1
    assert 'href="../figures/geometry_sam/lambda_max.csv"' in text
    assert 'href="../figures/geometry_sam/lambda_max.pdf"' in text


def test_a_paper_s_figures_are_those_it_lists(tmp_path):
    """The same kind twice, of other cells and with a title of its own."""
    folder = study(tmp_path, CLAIMS).papers[STUDY].folder
    entry = {"draw": "lambda_max", "name": "pie", "title": "A pie <chart>", "tables": ["T1"]}
    edited(folder / "paper.yaml", figures=[{"draw": "lambda_max", "front": True}, entry])
    plan = load_plan({"profile": "tiny", "papers": [STUDY]}, tmp_path)
    record_all(plan)
    for paper, name in figures.planned(plan):
        figures.write(plan, paper, name)
    text = page(plan)
    Page(text)
    assert text.count("<img ") == 2
    assert 'src="pictures/geometry_sam-pie.svg"' in text[text.index('id="figures"') :]
    assert "A pie &lt;chart&gt;" in text
    assert "One picture" in words(text)
    edited(folder / "paper.yaml", figures=[{"draw": "lambda_max", "front": True}])
    page(load_plan({"profile": "tiny", "papers": [STUDY]}, tmp_path))
    assert [p.name for p in (plan.results / "report/pictures").iterdir()] == [
        "geometry_sam-lambda_max.svg"
    ]


def test_above_a_figure_stands_what_its_claims_found(tmp_path):
    folder = study(tmp_path, CLAIMS).papers[STUDY].folder
    entry = {"draw": "lambda_max", "front": True, "claims": ["C1", "C2"]}
    edited(folder / "paper.yaml", figures=[entry])
    plan = load_plan({"profile": "tiny", "papers": [STUDY]}, tmp_path)
    record_all(plan)
    text = page(plan)
    (told,) = re.findall(r'<ul class="seen">.*?</ul>', text, re.DOTALL)
    lines = {line["id"]: line for line in verdicts.read(plan, STUDY)}
    assert lines["C2"]["verdict"] == "not run"  # which is told nothing of
    verdict = lines["C1"]["verdict"]
    assert re.findall(r'class="verdict ([\w-]+)"', told) == [verdict.replace(" ", "-")]
    assert (
        words(told).split(maxsplit=1)[1] == f"{verdict} SAM is above SGD. {effect(lines['C1'])} C1"
    )


def test_a_picture_draws_and_does_nothing_else(plan):
    """A figure's file may have passed through other hands."""
    figures.write(plan, STUDY, "lambda_max")
    path = plan.results / "figures/geometry_sam/lambda_max.svg"
    bad = (
        '<script>alert(1)</script><g onload="alert(2)"><image xlink:href="https://example.org/a.png"/>'
        '<foreignObject/><a href="javascript:alert(3)"/><rect style="fill: url(https://e.org)"/></g>'
    )
    path.write_text(path.read_text().replace("</svg>", f"{bad}</svg>"))
    page(plan)
    text = (plan.results / "report/pictures/geometry_sam-lambda_max.svg").read_text()
    assert not re.search(r"alert|script>|onload|https?://(?!www\.w3\.org)|foreign|<a ", text)
    assert text.count("<path") == path.read_text().count("<path")


def test_a_picture_has_the_page_s_colours_in_light_and_dark(plan):
    figures.write(plan, STUDY, "lambda_max")
    page(plan)
    text = (plan.results / "report/pictures/geometry_sam-lambda_max.svg").read_text()
    assert "var(--ink)" in text
    assert "#1b1b1b" not in text.partition("<style>")[0]
    style = text.partition("<style>")[2]
    used = {name for name, _ in svg.COLOURS.values() if f"var(--{name})" in text}
    assert {"ink", "muted", "blue"} <= used
    for name in used:  # a colour each in light and dark, not one another's
        assert len(re.findall(rf"--{name}: #[0-9a-f]{{6}}\b", style)) == 2
    assert "var(" not in style
    css = (ROOT / "src/samscope/report/templates/page.css").read_text()
    light, dark = css.split("@media (prefers-color-scheme: dark)")[:2]
    for name, colour in svg.COLOURS.values():
        assert f"--{name}: {colour};" in dark
        assert f"--{name}: #" in light


def test_a_figure_that_the_profile_makes_nothing_of_is_no_heading(tmp_path):
    plan = study(tmp_path, CLAIMS, stages={})
    text = page(plan)
    assert 'id="figure-geometry_sam-lambda_max"' not in text
    assert 'id="figure-geometry_sam-accuracy_vs_rho"' in text
    assert 'id="curvature"' not in text
    assert "Curvature" not in words(text)


def test_a_curve_is_thinned_and_keeps_its_ends():
    seeds = [pd.DataFrame({"seed": s, "epoch": range(1, 201), "train_loss": 1.0}) for s in (0, 1)]
    history = pd.concat(seeds, ignore_index=True)
    history["train_loss"] = 4 - 3 * history.epoch / 200 + history.seed
    curve = sparkline(history, "train_loss", "loss")
    assert curve["told"] == "loss: 4.48 → 1.50 in 200 epochs"
    for line in curve["lines"]:
        points = [tuple(map(float, p.split(","))) for p in line.split()]
        assert len(points) <= POINTS + 1
        assert (points[0][0], points[-1][0]) == (0, WIDTH)
        assert all(0 <= y <= HEIGHT for _, y in points)
    assert sparkline(history.assign(train_loss=float("nan")), "train_loss", "loss") is None


def test_a_figure_of_what_the_settings_leave_out_is_no_heading(tmp_path):
    folder = study(tmp_path, CLAIMS).papers[STUDY].folder
    edited(folder / "paper.yaml", figures=[{"draw": "convexity"}, {"draw": "surfaces"}])
    found = []
    for points in (0, 3):
        edited(
            folder / "scale/tiny.yaml",
            stages={"landscape": LANDSCAPE | {"convexity_points": points}},
        )
        plan = load_plan({"profile": "tiny", "papers": [STUDY]}, tmp_path)
        for figure in ("convexity", "surfaces"):
            figures.write(plan, STUDY, figure)
        found.append([picture["title"] for picture in drawn.pictures(plan, STUDY, [])])
    assert found == [["Loss surfaces"], ["Convexity on planes", "Loss surfaces"]]


def test_a_figure_of_which_nothing_is_run_is_a_name_in_a_sentence(tmp_path):
    folder = study(tmp_path, CLAIMS).papers[STUDY].folder
    entries = [{"draw": "surfaces", "front": True}, {"draw": "lambda_max"}]
    edited(folder / "paper.yaml", figures=entries)
    plan = load_plan({"profile": "tiny", "papers": [STUDY]}, tmp_path)
    for paper, name in figures.planned(plan):
        figures.write(plan, paper, name)
    text = page(plan)
    assert "<figure" not in text
    assert "Not run: Loss surfaces; Sharpness." in words(text)
