import re
from html import unescape
from html.parser import HTMLParser

import pytest

from samscope import InputError
from samscope.report.build import build
from samscope.report.text import effect, inline, pvalue, tidy
from small_study import RUNS, record, record_all, study

CLAIMS = [
    {
        "id": "C1", "quote": "over $60 \\%$ of <b>parameters</b> | $6 \\times 10^6$",
        "location": "somewhere", "test": "SAM is above SGD.", "reported": "-0.5", "kind": "greater",
        "metric": "test_acc_percent", "a": "sam", "b": "sgd", "rhos": [0.1, 0.2],
        "direction": "a_above_b",
    },
    {
        "id": "C2", "quote": "q", "location": "l", "test": "t", "reported": "r", "kind": "planned",
        "missing": "an experiment",
    },
]  # fmt: skip
VOID = {"meta", "br", "link", "img", "input", "hr", "col", "wbr"}


class Page(HTMLParser):
    """Ids, links and tags of a page; fails on tags that do not nest."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids, self.links, self.tags, self.open = [], [], [], []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.tags.append((tag, attrs))
        self.ids += [attrs["id"]] if "id" in attrs else []
        self.links += [attrs["href"]] if "href" in attrs else []
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def page(plan) -> str:
    return build(plan, plan.results / "report").read_text()


def words(text: str) -> str:
    """What a reader sees, with single spaces."""
    text = re.sub(r"<style>.*?</style>|<[^>]*>", " ", text, flags=re.DOTALL)
    return " ".join(unescape(text).split())


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A page with every cell run."""
    plan = study(tmp_path_factory.mktemp("study"), CLAIMS)
    record_all(plan)
    return page(plan)


@pytest.fixture
def plan(tmp_path):
    plan = study(tmp_path, CLAIMS)
    record_all(plan)
    return plan


def test_page_needs_nothing_else(whole):
    parsed = Page(whole)
    assert {tag for tag, _ in parsed.tags}.isdisjoint({"script", "link", "img", "iframe", "object"})
    assert not [a for _, attrs in parsed.tags for a in attrs if a in ("src", "srcset", "data")]
    # A style sheet inside a figure would hold for the whole page.
    assert [tag for tag, _ in parsed.tags].count("style") == 1
    assert not re.search(r"@import|url\((?!#)", whole)
    assert len(whole) < 5_000_000


def test_every_link_of_the_page_resolves_and_ids_are_unique(whole):
    parsed = Page(whole)
    assert len(parsed.ids) == len(set(parsed.ids))
    inner = [link for link in parsed.links if link.startswith("#")]
    assert len(inner) > 20
    assert {link[1:] for link in inner} <= set(parsed.ids)
    assert not [link for link in parsed.links if not link.startswith(("#", "https://"))]


def test_the_same_records_give_the_same_page(plan):
    assert page(plan) == page(plan)


def test_verdicts_and_completeness_are_in_front(whole):
    front = words(whole.partition('<section id="figures">')[0])
    assert "✓ supported 1" in front
    assert "– not run 1" in front
    assert "runs done 21 / 21" in front
    assert "an experiment" in front
    assert "+11.0 points [+8.5, +13.5] rho 0.1, n = 3" in front
    assert "cnn3 on digits in place of RN18 on CIFAR-100: epochs 3 (paper: 200)" in front


def test_table_shows_reported_beside_measured(whole):
    text = words(whole)
    assert "77.36 (0.9116) 71.00 ± 2.48 n=3 (1.100 ± 0.248)" in text
    assert "?? 77.00 ± 2.48 n=3" in text
    assert "78.60 (0.8784) a 77.00 ± 6.57 n=3" in text
    assert "a Not compared: a paste error." in text
    assert "Not run at rho 0.4: to save time." in text


def test_a_cell_leads_to_its_seeds_and_command(whole):
    start = whole.index('<details id="T1-0.1-ori-SAM">')
    cell = whole[start : whole.index("</pre>", start)]
    assert "<td>0</td><td>80.000</td><td>0.500</td><td>79.000</td>" in cell
    assert f"snakemake results/tiny/runs/{RUNS}/sam/rho=0.1/metrics.json" in cell


def test_provenance_counts_runs_by_environment(whole):
    text = words(whole.partition('<section id="provenance">')[2])
    assert "21 42 s 2.0 3.11 cpu a CPU 1 cccccccccc" in text


def test_sharpness_and_errata_are_there(whole):
    text = words(whole)
    assert "SAM 0.1 2.00 [0.36, 11.19] × 0.10 3.0 0.250 3" in text
    section = text[text.index("Largest eigenvalue of the Hessian at") :]
    assert "cnn3 on digits, a stand-in for RN18 on CIFAR-100" in section[:500]
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
