import base64
import hashlib
import json
import re
import shutil
import webbrowser
from dataclasses import replace

import pandas as pd
import pytest

from pages import CLAIMS, Page, behind, files, own_study, page, pages, words
from samscope import InputError, numerics, stages
from samscope.analysis import curvature_table, figures, tables, verdicts
from samscope.plan.load import load_plan
from samscope.report import cells, live
from samscope.report import tables as page_tables
from samscope.report.build import build
from samscope.report.package import FIELDS
from samscope.report.text import effect, inline, pvalue, tidy
from samscope.run import cli
from small_study import (
    FRONT,
    HEADER,
    ONE,
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


def said(cell: dict) -> str:
    """What the tables say of a cell."""
    lines = [[table, where, *(text for _, text in told)] for table, where, told in cell["mentions"]]
    return " ".join(word for line in lines for word in line)


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


def test_pages_load_their_pictures_and_the_cells_and_nothing_else(study_whole):
    for name, text in pages(study_whole).items():
        parsed = Page(text)
        assert {tag for tag, _ in parsed.tags}.isdisjoint({"iframe", "object", "svg"} - {"svg"})
        loaded = [attrs["src"] for _, attrs in parsed.tags if "src" in attrs]
        here = study_whole.results / "report"
        assert len(loaded) == (len(FRONT) if name == "index.html" else 0)
        assert all((here / path).is_file() and ".." not in path for path in loaded)
        assert all(attrs["loading"] == "lazy" for tag, attrs in parsed.tags if tag == "img")
        assert [attrs for tag, attrs in parsed.tags if tag == "link"] == [
            {"rel": "icon", "href": "data:,"}
        ]
        assert not re.search(r"@import|url\((?!#)|fetch\(|XMLHttp|innerHTML", text)


def test_only_the_page_s_own_script_and_style_may_act(study_whole):
    for text in pages(study_whole).values():
        policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)[1]
        assert "unsafe" not in policy
        assert "default-src 'none'" in policy
        for tag in ("style", "script"):
            (content,) = re.findall(rf"<{tag}>(.*?)</{tag}>", text, flags=re.DOTALL)
            digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
            assert f"{tag}-src 'sha256-{digest}'" in policy
        assert not [
            a for _, attrs in Page(text).tags for a in attrs if a.startswith(("on", "style"))
        ]


def test_every_link_of_the_pages_resolves_and_ids_are_unique(study_whole):
    texts = pages(study_whole)
    parsed = {name: Page(text) for name, text in texts.items()}
    here = study_whole.results / "report"
    for name, at in parsed.items():
        assert len(at.ids) == len(set(at.ids))
        for link in at.links:
            path, _, anchor = link.partition("#")
            if not link.startswith(("https://", "data:")):
                assert (here / (path or name)).is_file()
                assert not anchor or anchor in parsed[path or name].ids
    # Entries that are run or planned.
    opened = [a["data-cell"] for _, a in parsed["geometry_sam.html"].tags if "data-cell" in a]
    assert len(opened) == 9
    assert all(behind(study_whole, cell)["title"] for cell in opened)
    files = [link for at in parsed.values() for link in at.links if link.startswith("../")]
    # Of every table three exports, of every figure its picture, its pixels and its numbers; of
    # the curvature one file, of the verdicts two.
    assert len(files) >= 3 * 2 + 3 * len(FRONT) + 1 + 2


def test_a_large_table_and_its_cells_are_in_parts(plan, monkeypatch):
    """Each row on one page, each cell in one file, and every link between them resolves."""
    monkeypatch.setattr(page_tables, "ON_A_PAGE", 4)
    monkeypatch.setattr(cells, "IN_A_FILE", 4)
    whole = pages(plan)["geometry_sam.html"]
    here = plan.results / "report"
    names = ["geometry_sam.html", "geometry_sam-T1-2.html", "geometry_sam-T1-3.html"]
    texts = {name: (here / name).read_text() for name in names}
    assert texts[names[0]] == whole
    assert {path.name for path in here.glob("*.html")} == {*names, "index.html"}
    for at, (name, text) in enumerate(texts.items()):
        parsed = Page(text)
        assert len(parsed.ids) == len(set(parsed.ids))
        rows = re.findall(r'<th scope="row">([^<]*)', table(text, "T1"))
        assert rows == [("0.1", "0.2", "0.4")[at]]
        links = [link for link in parsed.links if link.endswith("#geometry_sam-T1")]
        assert {link.partition("#")[0] for link in links} >= {*names} - {name}
    found = files(plan)
    assert len(found) == 2
    assert all(found)
    assert f'data-files="{len(found)}"' in whole
    opened = {a["data-cell"] for t in texts.values() for _, a in Page(t).tags if "data-cell" in a}
    assert sorted(id_ for part in found for id_ in part) == sorted(opened)


def test_the_same_records_give_the_same_page(plan):
    assert page(plan) == page(plan)


def test_verdicts_and_completeness_are_in_front(whole):
    front = words(whole.partition("</html>")[0])
    assert "Does it hold? T1 S1" in words(whole)
    assert "✓ supported 1" in front
    assert "– not run 1" in front
    assert "21 of 21 runs are done" in front
    assert "1 not run: C2" in front
    assert front.index("not run: C2") > front.index("C1 SAM is above SGD.")
    assert "not planned at rho 0.1" in front
    assert "+11.0 points [+8.5, +13.5] −20 0 +20 points rho 0.1, n = 3" in front
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
    text = pages(plan)["index.html"]
    assert re.findall(r'<tr id="claim-geometry_sam-(C.)"', text) == ["C3", "C4", "C2"]
    assert text.index('"claim-geometry_sam-C4"') < text.index('<details class="folded">')
    assert '<details class="folded" open>' in page(study(tmp_path, CLAIMS[1:]))


def test_a_table_that_the_profile_leaves_out_is_folded(tmp_path, whole):
    assert '<details class="folded">' not in whole.partition("</html>")[2]
    left_out = {"only": {"variant": []}, "reason": "to save time"}
    text = page(study(tmp_path, CLAIMS, tables={"S1": left_out}))
    Page(text)
    assert "Not planned in this profile: S1" in words(text)
    places = [text.index(f'id="geometry_sam-{name}"') for name in ("T1", "S1")]
    assert places[0] < text.index('<details class="folded">', places[0]) < places[1]


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
    assert '<span class="best val">71.00 ± 2.48</span>' in article
    assert '<span class="best diff">▲ +11.00 ± 2.48</span>' in article
    assert '<span class="best val">1.100 ± 0.248</span>' in article
    text = words(article)
    assert "?? – new 77.00 ± 2.48" in text
    assert "a Not compared: a paste error." in text
    assert "b Not run at rho 0.4: to save time." in text
    assert "79.21 – b not run" in text
    assert "Levels are not compared." in text
    assert "Not compared: cnn3 on digits is a stand-in for RN18 on CIFAR-100." in text
    # Printed 77.36 < 78.84 < 79.55 and measured 71 < 82 = 82, but for the excluded cell.
    assert "Order of the 3 cells by accuracy, printed against measured: Kendall's τ 0.82" in text


def test_the_page_s_numbers_are_those_of_the_csv(study_whole, whole):
    frame = pd.read_csv(study_whole.results / "tables/geometry_sam/T1.csv")
    article = table(whole, "T1")
    for selection, name in (("best_val", "best"), ("last", "last")):
        for column, kind in (("measured", "val"), ("difference", "diff")):
            shown = re.findall(rf'class="{name} {kind}">[^\d−<]*([−\d.]+)', article)
            shown = sorted(float(number.replace("−", "-")) for number in shown)
            expected = frame[frame.selection == selection][column].dropna()
            assert shown == pytest.approx(sorted(expected), abs=5e-3)


def test_a_cell_opens_to_its_seeds_setting_and_command(study_whole):
    cell = behind(study_whole, f"{RUNS}/sam/rho=0.1")
    assert cell["runs"][0][2:5] == ["80.00", "0.500", "79.00"]
    assert cell["metrics"] == ["accuracy", "loss"]
    assert cell["selections"] == ["best validation", "last epoch"]
    target = f"results/tiny/runs/{RUNS}/sam/rho=0.1/metrics.json"
    assert f"snakemake {target} --config" in cell["command"]
    told = said(cell)
    assert "T1 rho 0.1, ori-SAM: printed 78.84." in told
    assert "S1 rho 0.1, ori-SAM: printed 79.35." in told
    assert "Accuracy minus SGD’s: +11.00 ± 2.48" in told
    assert cell["spec"]["epochs"] == "3"
    assert [len(curve["lines"]) for curve in cell["curves"]] == [3, 3]
    assert cell["curves"][1]["told"].endswith("in 3 epochs")


def test_what_a_table_repeats_is_said_once(study_whole):
    told = said(behind(study_whole, f"{RUNS}/sgd/base"))
    assert told.count("SGD: printed") == 2  # with a loss, and without
    assert "T1 rho 0.1, SGD: printed 77.36 (0.9116)" in told


def test_levels_are_marked_where_they_are_compared(own):
    text = page(own)
    article = words(table(text, "T1"))
    assert "≈ 77.40 ± 0.99" in article
    assert "≠ 60.40 ± 0.99" in article
    assert "≈ 5 agree , ≠ 1 differ" in article
    cell = said(behind(own, f"{REAL}/sam/rho=0.4"))
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
    path = plan.papers[STUDY].folder / "claims.yaml"
    path.write_text(path.read_text().replace("ckpt3", "ckpt1"))  # of which there are rows
    monkeypatch.setattr(webbrowser, "open", opened.append)
    monkeypatch.chdir(root)
    (root / "config.yaml").write_text("profile: tiny\npapers: [geometry_sam]\n")
    assert cli.main(["report"]) == 0
    assert opened == []
    assert cli.main(["report", "--where", "--open"]) == 0
    path = root / "results/tiny/report/index.html"
    assert opened == [path.as_uri()]
    assert capsys.readouterr().out.splitlines()[-1] == "results/tiny/report/index.html"


def two_papers(root):
    """The plan of the study and of another with the same tables, so that they share their runs."""
    record_all(study(root, CLAIMS))
    folder = write_study(root, CLAIMS, "other")
    edited(folder / "paper.yaml", title="Another study")
    return load_plan({"profile": "tiny", "papers": [STUDY, "other"]}, root)


def test_two_papers_share_the_first_page_and_their_cells(tmp_path):
    plan = two_papers(tmp_path)
    for paper, name in figures.planned(plan):
        if name in FRONT:
            figures.write(plan, paper, name)
    texts = pages(plan)
    assert list(texts) == ["index.html", "geometry_sam.html", "other.html"]
    first = Page(texts["index.html"])
    assert {"answers-geometry_sam", "answers-other", "claim-other-C1"} <= set(first.ids)
    shown = words(texts["index.html"])
    # A card, pictures and claims of each.
    assert shown.count("Another study A. Author, 2024") == shown.count(" A study A. Author, 2024")
    assert shown.count("Another study A. Author, 2024") == 3
    assert "Six pictures" in shown
    cell = said(behind(plan, f"{RUNS}/sam/rho=0.1"))
    assert "geometry_sam T1 rho 0.1" in cell
    assert "other T1 rho 0.1" in cell
    page(study(tmp_path, CLAIMS))
    assert not (plan.results / "report/other.html").exists()


def test_the_level_of_evidence_stands_beside_what_was_trained(tmp_path, whole):
    shorter = study(tmp_path / "a", **OWN | {"protocol": {"epochs": 3}})
    for text, level, trained in (
        (whole, "stand-in", "cnn3 on digits"),
        (page(shorter), "reduced", "RN18 on CIFAR-100, 3 epochs (paper: 200)"),
        (page(study(tmp_path / "b", **OWN)), "full", "RN18 on CIFAR-100, 200 epochs."),
    ):
        told = words(table(text, "T1"))
        assert f"Evidence: {level}" in told.partition("What was trained")[0]
        assert f"Profile tiny: {trained}" in told


def test_runs_of_another_arithmetic_are_counted(plan):
    assert "not the same bits" not in words(page(plan))
    for seed, found in enumerate(("other", next(iter(numerics.REFERENCES.values())))):
        path = plan.run_dir(f"{RUNS}/sam/rho=0.1") / f"seed={seed}/provenance.json"
        path.write_text(path.read_text().replace('"dirty"', f'"fingerprint": "{found}", "dirty"'))
    text = words(page(plan))
    assert "The arithmetic of 1 of 21 runs is not the reference’s" in text
    assert "19 38 s 2.0 3.11 cpu a CPU 1 –" in text


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
    texts = pages(plan)
    done = f"{3 * len(plan.cells)} of {3 * len(plan.cells)} runs are done"
    assert done in words(texts["index.html"])
    assert len(texts["index.html"].encode()) < 200_000
    # With two numbers a cell; a page has a thousand at most.
    entries = texts["geometry_sam.html"].count("data-cell")
    assert len(texts["geometry_sam.html"].encode()) < 650 * entries + 130_000


def test_provenance_counts_runs_by_environment(study_whole, whole):
    text = words(whole.partition('<section id="provenance">')[2])
    assert "21 42 s 2.0 3.11 cpu a CPU 1 – cccccccccc" in text
    frame = pd.read_csv(study_whole.results / "report/provenance.csv")
    assert len(frame) == 21
    assert {"cell", "seed", "digest", "commit", "torch"} <= set(frame.columns)


def test_the_package_says_what_each_column_of_each_table_is(study_whole):
    package = json.loads((study_whole.results / "datapackage.json").read_text())
    told = {one["path"]: one.get("schema", {}).get("fields") for one in package["resources"]}
    written = {
        str(path.relative_to(study_whole.results))
        for folder in ("tables", "claims", "curvature", "report")
        for path in (study_whole.results / folder).rglob("*.*")
        if path.suffix in (".csv", ".json")
    }
    assert set(told) == written
    keys = {"model", "data", "variant", "rho", "condition", "excluded"}
    types = {"number": float, "integer": float, "boolean": bool, "string": str}
    for path, fields in told.items():
        if fields:
            frame = pd.read_csv(study_whole.results / path, dtype=str, keep_default_na=False)
            assert [field["name"] for field in fields] == list(frame.columns)
            assert {field["name"] for field in fields} <= set(FIELDS) | keys
            for field in fields:
                for value in frame[field["name"]]:
                    types[field["type"]](value or 0)


def test_the_curvature_table_is_the_one_that_was_written(study_whole, whole):
    written = (study_whole.results / "curvature/geometry_sam.md").read_text()
    cells = [line.split(" | ") for line in written.splitlines() if line.startswith("| S")]
    section = whole[whole.index('id="curvature"') :]
    text = words(section[: section.index("</section>")])
    assert len(cells) == 2
    assert all(cell.strip(" |") in text for line in cells for cell in line)


def test_a_norm_in_a_heading_ends_no_cell_of_the_curvature_table(plan, monkeypatch):
    norm = replace(curvature_table.QUANTITIES["lambda_max"], symbol="λ max |w|²")
    monkeypatch.setitem(curvature_table.QUANTITIES, "lambda_max", norm)
    curvature_table.write(plan, STUDY)
    text = page(plan)
    section = text[text.index('id="curvature"') :]
    assert section[: section.index("</section>")].count("<tr>") == 3
    assert '<th scope="col">λ max |w|²</th>' in section
    assert "cnn3 on digits in place of RN18 on CIFAR-100" in text
    assert "CSV" in text


def test_errata_and_deviations_are_there(whole):
    text = words(whole)
    assert "Several seeds." in text
    assert "Printed: x <script>" in text


def test_no_text_of_a_paper_can_act(tmp_path):
    """Titles, tables, claims, notes, errata of a hostile hand are shown as they are written."""
    bad = '"><img src=x onerror=alert(1)><script>alert(2)</script><a href="javascript:alert(3)">'
    said = dict.fromkeys(("quote", "location", "test", "reported", "note", "runs"), bad)
    folder = study(tmp_path, [CLAIMS[0] | said]).papers[STUDY].folder
    edited(folder / "scale/tiny.yaml", tables={"T1": {"only": {"rho": [0.1, 0.2]}, "reason": bad}})
    edited(
        folder / "paper.yaml",
        **dict.fromkeys(("title", "authors", "url", "citation", "words"), bad),
        answers=[{"question": bad, "claims": ["C1"]}],
        deviations=[bad],
        tables={t: {"title": bad, "question": bad} for t in ("T1", "S1")},
        figures=[{"draw": "lambda_max", "title": bad, "front": True}],
    )
    (folder / "errata.md").write_text(
        f"# {bad}\n\n| {bad} |\n| --- |\n| [x](javascript:alert(4)) |"
    )
    path = folder / "reported/T1.csv"
    path.write_text(path.read_text().replace("a paste error", bad.replace('"', '""').join('""')))
    plan = load_plan({"profile": "tiny", "papers": [STUDY]}, tmp_path)
    record_all(plan)
    figures.write(plan, STUDY, "lambda_max")
    texts = pages(plan)
    live.write(plan, bad, going=True)
    texts["live"] = (plan.results / "report/index.html").read_text()
    for text in texts.values():
        tags = Page(text).tags
        assert [tag for tag, _ in tags].count("script") == 1
        assert all(
            a["src"].startswith(("pictures/", "../figures/")) for tag, a in tags if tag == "img"
        )
        assert not [a for _, attrs in tags for a in attrs if a.startswith("on")]
        assert not [a for _, a in tags if a.get("href", "").startswith("javascript")]
        assert "alert(1)" in words(text)


@pytest.mark.parametrize("cells", [[], [f"{RUNS}/sam/rho=0.1"]])
def test_a_partial_grid_renders(tmp_path, cells):
    plan = study(tmp_path, CLAIMS)
    for cell in cells:
        record(plan, cell, [80.0, 81.0, 82.0])
    text = page(plan)
    parsed = Page(text)
    assert {link[1:] for link in parsed.links if link.startswith("#")} <= set(parsed.ids)
    assert f"{3 * len(cells)} of 21 runs are done" in words(text)
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


def test_a_cell_of_many_numbers_has_a_line_for_each(tmp_path):
    folder = write_study(tmp_path, tables={})
    metrics = ("test_acc_percent", "test_loss", "lambda_max")
    printed = dict(zip(metrics, ("77.36", "", "25"), strict=True))
    rows = [ONE.format(printed[m], "").replace("test_acc_percent", m) for m in metrics]
    (folder / "reported/T1.csv").write_text(HEADER + "".join(rows))
    plan = load_plan({"profile": "tiny", "papers": [STUDY], "tables": ["T1"]}, tmp_path)
    assert "number" not in words(table(page(plan), "T1").partition("</thead>")[0])
    record(plan, f"{RUNS}/sgd/base", [77.0, 77.4, 77.8], [0.5, 0.5, 0.5], top=[10.0, 20.0, 40.0])
    text = table(page(plan), "T1")
    titles = text.partition('<td class="of">')[2].partition("</td>")[0]
    assert words(titles) == "accuracy, % loss λ max"
    lines = [words(line) for line in text.split('<span class="line ')[1:]]
    assert len(lines) == len(metrics)
    for line, shown in zip(lines, ("77.36", "0.500", "25"), strict=True):
        assert shown in line
    assert "20 [3.57, 112]" in lines[2]
