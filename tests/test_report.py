import base64
import re
import shutil
import webbrowser

import pandas as pd
import pytest

from pages import CLAIMS, Page, own_study, page, words
from samscope import InputError, numerics, stages
from samscope.analysis import curvature_table, figures, tables, verdicts
from samscope.plan.load import load_plan
from samscope.report import drawn
from samscope.report.build import build
from samscope.report.cells import HEIGHT, POINTS, WIDTH, sparkline
from samscope.report.text import effect, inline, pvalue, tidy
from samscope.run import cli
from small_study import (
    FRONT,
    OWN,
    REAL,
    ROOT,
    RUNS,
    STUDY,
    edited,
    record,
    record_all,
    study,
    write_study,
)


def made(plan) -> str:
    """The page after its tables and the figures in front."""
    for name in FRONT:
        figures.write(plan, STUDY, name)
    for paper in plan.papers.values():
        for table in paper.tables:
            tables.write(plan, paper.name, table, plan.results / "tables" / paper.name)
        verdicts.write(plan, paper.name)
    for name in curvature_table.papers(plan):
        curvature_table.write(plan, name)
    return page(plan)


def table(text: str, name: str) -> str:
    """A table of the study's."""
    start = text.index(f'id="geometry_sam-{name}"')
    return text[start : text.index("</article>", start)]


def behind(text: str, cell: str) -> str:
    """What a cell opens to."""
    start = text.index(f'id="cell-{cell}"')
    return text[start : text.index('<div class="behind"', start)]


@pytest.fixture(scope="module")
def study_whole(tmp_path_factory):
    plan = study(tmp_path_factory.mktemp("study"), CLAIMS)
    record_all(plan)
    made(plan)
    return plan


@pytest.fixture(scope="module")
def whole(study_whole):
    """A page with every cell run."""
    return page(study_whole)


@pytest.fixture
def plan(tmp_path):
    plan = study(tmp_path, CLAIMS)
    record_all(plan)
    return plan


@pytest.fixture
def own(tmp_path):
    return own_study(tmp_path)


def test_page_needs_nothing_else(whole):
    parsed = Page(whole)
    assert {tag for tag, _ in parsed.tags}.isdisjoint({"img", "iframe", "object"})
    assert not [a for _, attrs in parsed.tags for a in attrs if a in ("src", "srcset", "data")]
    assert [attrs for tag, attrs in parsed.tags if tag == "link"] == [
        {"rel": "icon", "href": "data:,"}
    ]
    # A style sheet inside a figure would hold for the whole page.
    assert [tag for tag, _ in parsed.tags].count("style") == 1
    assert not re.search(r"@import|url\((?!#)|fetch\(|XMLHttp", whole)
    assert "default-src 'none'" in whole


def test_every_link_of_the_page_resolves_and_ids_are_unique(study_whole, whole):
    parsed = Page(whole)
    assert len(parsed.ids) == len(set(parsed.ids))
    inner = [link for link in parsed.links if link.startswith("#")]
    opened = [a["popovertarget"] for _, a in parsed.tags if "popovertarget" in a]
    # Entries that are run or planned, and the button that closes each of the seven cells.
    assert len(opened) == 9 + 7
    assert {link[1:] for link in inner} | set(opened) <= set(parsed.ids)
    files = [x for x in parsed.links if not x.startswith(("#", "https://", "data:"))]
    # Of every table three exports, of every figure its picture, its pixels and its numbers; of
    # the curvature one file, of the verdicts two.
    assert len(files) >= 3 * 2 + 3 * len(FRONT) + 1 + 2
    assert [f for f in files if not (study_whole.results / "report" / f).is_file()] == []


def test_the_same_records_give_the_same_page(plan):
    assert page(plan) == page(plan)


def test_verdicts_and_completeness_are_in_front(whole):
    front = words(whole.partition('<section id="tables">')[0])
    assert "Does it hold? T1 S1" in words(whole)
    assert "✓ supported 1" in front
    assert "– not run 1" in front
    assert "runs done 21 / 21" in front
    assert "1 not run: C2" in front
    assert front.index("not run: C2") > front.index("C1 SAM is above SGD.")
    assert "not planned at rho 0.1" in front
    assert "+11.0 points [+8.5, +13.5] rho 0.1, n = 3" in front
    assert "cnn3 on digits in place of RN18 on CIFAR-100: epochs 3 (paper: 200)" in front


def test_the_verdicts_are_those_of_the_file(plan):
    page(plan)
    path = plan.results / "claims/geometry_sam.json"
    path.write_text(path.read_text().replace('"supported"', '"equivalent"'))
    text = build(plan, plan.results / "report").read_text()
    assert "– not run 1" in words(text)
    assert "≈ equivalent 1" in words(text)
    assert "✓ supported 0" in words(text)
    path.write_text(path.read_text().replace('"C2"', '"C9"'))
    with pytest.raises(InputError, match="C2, C9 is not allowed; allowed: the claims"):
        build(plan, plan.results / "report")
    path.unlink()
    assert "No verdict yet." in words(build(plan, plan.results / "report").read_text())


def test_decided_claims_come_first_and_those_not_run_are_folded(tmp_path):
    other = {**CLAIMS[0], "id": "C3", "direction": "a_below_b"}
    plan = study(tmp_path, [CLAIMS[1], {**other, "rhos": [0.1, 0.4]}, {**other, "id": "C4"}])
    record_all(plan)
    text = page(plan)
    assert re.findall(r'<tr id="claim-geometry_sam-(C.)"', text) == ["C3", "C4", "C2"]
    assert text.index('"claim-geometry_sam-C4"') < text.index('<details class="folded">')
    assert '<details class="folded" open>' in page(study(tmp_path, CLAIMS[1:]))


def test_a_table_that_the_profile_leaves_out_is_folded(tmp_path, whole):
    assert '<details class="folded">' not in whole[whole.index('id="tables"') :]
    left_out = {"only": {"variant": []}, "reason": "to save time"}
    text = page(study(tmp_path, CLAIMS, tables={"S1": left_out}))
    Page(text)
    assert "Not planned in this profile: S1" in words(text)
    places = [text.index(f'id="geometry_sam-{name}"') for name in ("T1", "S1")]
    assert places[0] < text.index('<details class="folded">') < places[1]


def test_a_table_without_printed_numbers_shows_the_measured_ones_alone(tmp_path):
    plan = study(tmp_path, CLAIMS)
    path = plan.papers["geometry_sam"].folder / "reported/S1.csv"
    path.write_text(re.sub(r"percent,[0-9.]+", "percent,", path.read_text()))
    plan = load_plan({"profile": "tiny", "papers": [STUDY]}, tmp_path)
    record(plan, f"{RUNS}/sam/rho=0.1", [80.0, 82.0, 84.0])
    text = made(plan)
    article = words(table(text, "S1"))
    assert "0.1 82.00 ± 4.97 – 81.00 ± 4.97 – not run not run" in article
    assert "??" not in article
    assert "new" not in article
    assert "?? – not run" in words(table(text, "T1"))
    markdown, latex = (
        (plan.results / f"tables/geometry_sam/S1.{kind}").read_text() for kind in ("md", "tex")
    )
    assert "| 0.1 | **82.00 ± 4.97**, n=3 | not run | not run |" in markdown
    assert "The paper prints no number." in markdown
    assert "??" not in markdown + latex


def test_a_number_that_no_run_records_is_passed_over(tmp_path):
    """With validation, no run has the highest test accuracy of its epochs."""
    path = study(tmp_path, CLAIMS).papers[STUDY].folder / "reported/S1.csv"
    path.write_text(path.read_text().replace("test_acc_percent", "highest_test_acc_percent", 1))
    plan = load_plan({"profile": "tiny", "papers": [STUDY]}, tmp_path)
    record(plan, f"{RUNS}/sam/rho=0.1", [80.0, 82.0, 84.0])
    assert "79.35 – not run" in words(table(made(plan), "S1"))


def test_table_shows_reported_beside_measured(whole):
    article = table(whole, "T1")
    assert '<span class="val">77.36</span>' in article
    assert 'data-n="71.0000">71.00 ± 2.48</span>' in article
    assert 'data-n="11.0000">▲ +11.00 ± 2.48</span>' in article
    assert 'data-n="1.1000">1.100 ± 0.248</span>' in article
    text = words(article)
    assert "?? – new 77.00 ± 2.48" in text
    assert "a Not compared: a paste error." in text
    assert "b Not run at rho 0.4: to save time." in text
    assert "79.21 – b not run" in text
    assert "Levels are not compared: cnn3 on digits is a stand-in for RN18 on CIFAR-100." in text
    # Printed 77.36 < 78.84 < 79.55 and measured 71 < 82 = 82, but for the excluded cell.
    assert "Order of the 3 cells by accuracy, printed against measured: Kendall's τ 0.82" in text


def test_the_page_s_numbers_are_those_of_the_csv(study_whole, whole):
    frame = pd.read_csv(study_whole.results / "tables/geometry_sam/T1.csv")
    article = table(whole, "T1")
    for selection, name in (("best_val", "best"), ("last", "last")):
        for column, kind in (("measured", "val"), ("difference", "diff")):
            shown = re.findall(rf'class="{name} {kind}[^"]*" data-n="([^"]*)"', article)
            expected = frame[frame.selection == selection][column].dropna()
            assert sorted(map(float, shown)) == pytest.approx(sorted(expected), abs=1e-4)


def test_a_cell_opens_to_its_seeds_setting_and_command(whole):
    cell = behind(whole, "cnn3-digits_sam_rho=0.1")
    assert "<td>0</td><td>80.00</td><td>0.500</td><td>79.00</td>" in cell
    assert f"snakemake results/tiny/runs/{RUNS}/sam/rho=0.1/metrics.json --config" in cell
    text = words(cell)
    assert "T1 rho 0.1, ori-SAM: printed 78.84." in text
    assert "S1 rho 0.1, ori-SAM: printed 79.35." in text
    assert "Accuracy minus SGD’s: +11.00 ± 2.48" in text
    assert "epochs 3" in text
    assert cell.count("<polyline") == 6


def test_what_a_table_repeats_is_said_once(whole):
    text = words(behind(whole, "cnn3-digits_sgd_base"))
    assert text.count("SGD: printed") == 2  # with a loss, and without
    assert "T1 rho 0.1, SGD: printed 77.36 (0.9116)" in text


def test_levels_are_marked_where_they_are_compared(own):
    text = page(own)
    article = words(table(text, "T1"))
    assert "≈ 77.40 ± 0.99" in article
    assert "≠ 60.40 ± 0.99" in article
    assert "≈ 5 agree , ≠ 1 differ" in article
    cell = words(behind(text, "resnet18-cifar100_sam_rho=0.4"))
    assert "≠ differs in accuracy: printed minus measured +18.81, tolerance ±" in cell


def test_without_two_seeds_the_page_says_why_nothing_is_compared(tmp_path):
    plan = study(tmp_path, CLAIMS, **OWN)
    assert "Levels are not compared" not in page(plan)
    record(plan, f"{REAL}/sam/rho=0.1", [78.5])
    text = words(page(plan))
    assert text.count("Levels are not compared: no cell has two seeds") == 2
    record(plan, f"{REAL}/ckpt1/rho=0.2", [78.5, 78.6])
    assert words(page(plan)).count("Levels are not compared") == 1


def test_the_command_shows_the_page(plan, monkeypatch, capsys):
    root, opened = plan.root, []
    monkeypatch.setattr(webbrowser, "open", opened.append)
    monkeypatch.chdir(root)
    (root / "config.yaml").write_text("profile: tiny\npapers: [geometry_sam]\n")
    assert cli.main(["report"]) == 0
    assert opened == []
    assert cli.main(["report", "--where", "--open"]) == 0
    path = root / "results/tiny/report/index.html"
    assert opened == [path.as_uri()]
    assert capsys.readouterr().out.splitlines()[-1] == "results/tiny/report/index.html"


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
    monkeypatch.setattr(figures, "draw", draw)
    text = page(plan)
    assert "loss of the trained" in text
    assert caption in words(text)
    assert text.count("Not drawn yet.") == len(figures.kinds()) - 1
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
    assert text.count('data-figure="geometry_sam-') == 2
    assert 'data-figure="geometry_sam-pie"' in text[text.index('id="figures"') :]
    assert "A pie &lt;chart&gt;" in text
    assert "One picture" in words(text)


def two_papers(root):
    """The plan of the study and of another with the same tables, so that they share their runs."""
    record_all(study(root, CLAIMS))
    folder = write_study(root, CLAIMS, "other")
    edited(folder / "paper.yaml", title="Another study")
    return load_plan({"profile": "tiny", "papers": [STUDY, "other"]}, root)


def test_two_papers_on_a_page_have_ids_of_their_own(tmp_path):
    plan = two_papers(tmp_path)
    for paper, name in figures.planned(plan):
        if name in FRONT:
            figures.write(plan, paper, name)
    text = page(plan)
    parsed = Page(text)
    assert len(parsed.ids) == len(set(parsed.ids))
    links = {link[1:] for link in parsed.links if link.startswith("#")}
    assert links | {"geometry_sam-T1", "other-T1", "claim-other-C1"} <= set(parsed.ids)
    shown = words(text)
    # In each section a heading for each.
    assert (
        shown.count("Another study A. Author, 2024") == shown.count(" A study A. Author, 2024") > 5
    )
    assert "Six pictures" in shown
    assert "Another study A. Author" not in words(page(study(tmp_path, CLAIMS)))
    # They share their cells, and a cell says both.
    assert len([i for i in parsed.ids if i.startswith("cell-") and not i.endswith("-title")]) == 7
    cell = words(behind(text, "cnn3-digits_sam_rho=0.1"))
    assert "geometry_sam T1 rho 0.1" in cell
    assert "other T1 rho 0.1" in cell


def test_the_level_of_evidence_stands_beside_what_was_trained(tmp_path, whole):
    assert "Evidence: stand-in Profile tiny: cnn3 on digits" in words(table(whole, "T1"))
    shorter = words(page(study(tmp_path / "a", **OWN | {"protocol": {"epochs": 3}})))
    assert "Evidence: reduced Profile tiny: RN18 on CIFAR-100, 3 epochs (paper: 200)" in shorter
    full = words(page(study(tmp_path / "b", **OWN)))
    assert "Evidence: full Profile tiny: RN18 on CIFAR-100, 200 epochs." in full


def test_runs_of_another_arithmetic_are_counted(plan):
    assert "not the same bits" not in words(page(plan))
    for seed, found in enumerate(("other", next(iter(numerics.REFERENCES.values())))):
        path = plan.run_dir(f"{RUNS}/sam/rho=0.1") / f"seed={seed}/provenance.json"
        path.write_text(path.read_text().replace('"dirty"', f'"fingerprint": "{found}", "dirty"'))
    text = words(page(plan))
    assert "The arithmetic of 1 of 21 runs is not the reference’s" in text
    assert "19 38 s 2.0 3.11 cpu a CPU 1 –" in text


def test_a_figure_of_too_many_lines_is_set_in_as_pixels(plan, monkeypatch):
    figures.write(plan, STUDY, "lambda_max")
    assert 'data-figure="geometry_sam-lambda_max"' in page(plan)
    monkeypatch.setattr(drawn, "LIMIT", 100)
    text = page(plan)
    assert 'data-figure="geometry_sam-lambda_max"' not in text
    data = re.search(r'<img alt="Sharpness" src="data:image/png;base64,([^"]*)"', text)[1]
    written = (plan.results / "figures/geometry_sam/lambda_max.png").read_bytes()
    assert base64.b64decode(data) == written


def test_profiles_stand_side_by_side(plan):
    assert 'aria-label="Profiles"' not in page(plan)
    other = plan.results.parent / "paper"
    (other / "report").mkdir(parents=True)
    (other / "report/index.html").touch()
    verdicts.write(plan, STUDY)
    shutil.copytree(plan.results / "claims", other / "claims")
    text = page(plan)
    assert '<a href="../../paper/report/index.html">paper</a>' in text
    assert re.search(r"✓ supported (fragile: \S[^.]* )?paper: ✓ supported", words(text))


def test_a_curve_is_thinned_and_keeps_its_ends():
    seeds = [pd.DataFrame({"seed": s, "epoch": range(1, 201), "train_loss": 1.0}) for s in (0, 1)]
    history = pd.concat(seeds, ignore_index=True)
    history["train_loss"] = 4 - 3 * history.epoch / 200 + history.seed
    curve = sparkline(history, "train_loss", "loss")
    assert (curve["first"], curve["last"]) == (pytest.approx(4.485), pytest.approx(1.5))
    for line in curve["lines"]:
        points = [tuple(map(float, p.split(","))) for p in line.split()]
        assert len(points) <= POINTS + 1
        assert (points[0][0], points[-1][0]) == (0, WIDTH)
        assert all(0 <= y <= HEIGHT for _, y in points)
    assert sparkline(history.assign(train_loss=float("nan")), "train_loss", "loss") is None


def whole_grid(root):
    """The plan of the paper profile with records of every cell: three seeds, 200 epochs."""
    shutil.copytree(ROOT / "workflow", root / "workflow")
    plan = load_plan({"profile": "paper", "papers": ["geometry_sam"], "seeds": 3}, root)
    shares = [[40 + (7 * e + s) % 23 / 3 for e in range(200)] for s in range(3)]
    spectra = stages.runs(plan, "curvature")
    for i, cell in enumerate(plan.cells):
        measured = {"top": [1.0 + i, 2.0 + i, 3.0 + i]} if cell in spectra else {}
        accuracy = [78.0 + i % 7, 78.2, 78.4]
        record(plan, cell, accuracy, [0.71, 0.72, 0.73], shares=shares, **measured)
    return plan


def test_the_paper_s_whole_grid_fits_on_a_page(tmp_path):
    plan = whole_grid(tmp_path)
    text = page(plan)
    assert f"runs done {3 * len(plan.cells)} / {3 * len(plan.cells)}" in words(text)
    assert len(text.encode()) < 2_500_000


@pytest.mark.slow
def test_with_all_figures_it_stays_below_five_megabytes(tmp_path):
    plan = whole_grid(tmp_path)
    for name in figures.kinds():
        figures.write(plan, STUDY, name)
    text = page(plan)
    assert "Not drawn yet." not in text
    assert len(text.encode()) < 5_000_000


def test_provenance_counts_runs_by_environment(whole):
    text = words(whole.partition('<section id="provenance">')[2])
    assert "21 42 s 2.0 3.11 cpu a CPU 1 – cccccccccc" in text


def test_the_curvature_table_is_the_one_that_was_written(study_whole, whole):
    written = (study_whole.results / "curvature/geometry_sam.md").read_text()
    cells = [line.split(" | ") for line in written.splitlines() if line.startswith("| S")]
    section = whole[whole.index('id="curvature"') :]
    text = words(section[: section.index("</section>")])
    assert len(cells) == 2
    assert all(cell.strip(" |") in text for line in cells for cell in line)
    assert "cnn3 on digits in place of RN18 on CIFAR-100" in text
    assert "CSV" in text


def test_errata_and_deviations_are_there(whole):
    text = words(whole)
    assert "Several seeds." in text
    assert "Printed: x <script>" in text


@pytest.mark.parametrize("cells", [[], [f"{RUNS}/sam/rho=0.1"]])
def test_a_partial_grid_renders(tmp_path, cells):
    plan = study(tmp_path, CLAIMS)
    for cell in cells:
        record(plan, cell, [80.0, 81.0, 82.0])
    text = page(plan)
    parsed = Page(text)
    assert {link[1:] for link in parsed.links if link.startswith("#")} <= set(parsed.ids)
    assert f"runs done {3 * len(cells)} / 21" in words(text)
    assert "no result yet" in text


def test_a_spoilt_record_stops_the_page(plan):
    path = plan.run_dir(f"{RUNS}/sam/rho=0.1") / "seed=0/provenance.json"
    path.write_text("{")
    with pytest.raises(InputError, match=r"seed=0/provenance\.json"):
        page(plan)


def test_quotations_are_set_without_tex_and_without_html():
    shown = inline(CLAIMS[0]["quote"])
    assert shown == "over 60 % of &lt;b&gt;parameters&lt;/b&gt; | 6 × 10⁶"
    assert inline("`a$b$` and $\\rho = 0.2$") == "<code>a$b$</code> and ρ = 0.2"


def test_numbers_have_real_minus_signs():
    line = {"effect": -1.25, "ci_low": -2.0, "ci_high": 0.04, "unit": "points"}
    assert effect(line) == "−1.2 points [−2.0, +0.0]"
    assert effect(line | {"unit": "ratio", "effect": 0.5, "ci_low": 0.25, "ci_high": 1.0}) == (
        "×\u20090.50 [0.25, 1.00]"
    )
    assert effect(line | {"effect": float("nan")}) == "–"
    assert tidy("-0.5 and sam-hessian, 3 %") == "−0.5 and sam-hessian, 3\xa0%"
    assert (pvalue(0.00001), pvalue(0.0123)) == ("< 0.0001", "0.012")
