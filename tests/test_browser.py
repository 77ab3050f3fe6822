"""The page in a browser: nothing is asked for, nothing fails, all that can be clicked works."""

import pytest

from chromium import AXE, BINARY, Chromium
from samscope.analysis import figures, tables, verdicts
from samscope.plan.load import load_plan
from samscope.report import cells
from samscope.report import tables as page_tables
from samscope.report.build import build
from small_study import RUNS, STUDY, record, record_all, study, write_study

pytestmark = pytest.mark.skipif(not BINARY, reason="no Chromium (Debian: apt install chromium)")

CLAIMS = [
    {
        "id": f"C{i}", "quote": "q", "location": "l", "test": test, "reported": "r",
        "kind": "greater", "metric": "test_acc_percent", "a": a, "b": b, "rhos": [0.1],
        "direction": "a_above_b",
    }
    for i, (test, a, b) in enumerate([("up", "sam", "sgd"), ("down", "sgd", "sam")])
]  # fmt: skip
ROWS = (
    "[...document.querySelectorAll('#geometry_sam-T1 tbody tr')].map((r) => r.cells[0].innerText)"
)
SHOWN = "(e) => e.getClientRects().length > 0"
OPEN = "document.querySelector('dialog[open]')"
WORD = "document.querySelector('#word:popover-open')"
FOCUS = "document.activeElement"


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    """The page of a small study's tables, with all it links to."""
    plan = study(tmp_path_factory.mktemp("study"), CLAIMS)
    record_all(plan)
    for name in ("paired_differences", "lambda_max"):
        figures.write(plan, "geometry_sam", name)
    for table in plan.papers["geometry_sam"].tables:
        tables.write(plan, "geometry_sam", table, plan.results / "tables/geometry_sam")
    verdicts.write(plan, "geometry_sam")
    return build(plan, plan.results / "report").with_name("geometry_sam.html").as_uri()


@pytest.fixture(scope="module")
def first(url):
    """The first page."""
    return url.replace("geometry_sam.html", "index.html")


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    browser = Chromium(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()


@pytest.fixture
def page(browser, url):
    """The page, opened anew in a window of a desktop."""
    browser.events.clear()
    browser.screen(1200, 900)
    browser.open(url)
    # What a browser leaves out until it is scrolled to has no innerText.
    whole = "each.style.contentVisibility = 'visible'"
    browser.run(f"document.querySelectorAll('article.table').forEach((each) => {{ {whole} }})")
    return browser


def visible(page, selector: str) -> list[str]:
    """Texts of the elements that match and are shown."""
    found = f"[...document.querySelectorAll({selector!r})].filter({SHOWN})"
    return page.run(f"{found}.map((e) => e.innerText.trim())")


def wait(page) -> None:
    """For what a click loads from disk."""
    page.run("new Promise((done) => setTimeout(done, 100))")


def test_nothing_is_asked_for_and_nothing_fails(page, url):
    for selector in (
        "label:has(#as-diff)",
        "#geometry_sam-T1 th:nth-child(2) button",
        "#geometry_sam-T1 td button",
    ):
        page.click(selector)
    wait(page)
    asked = {request["request"]["url"] for request in page.told("Network.requestWillBeSent")}
    cells = url.replace("geometry_sam.html", "cells-0.js")
    assert {link for link in asked if not link.startswith("data:")} == {url, cells}
    logged = ("Log.entryAdded", "Runtime.consoleAPICalled", "Runtime.exceptionThrown")
    assert [event for kind in logged for event in page.told(kind)] == []


def test_the_first_page_asks_for_its_pictures_alone(page, first):
    page.events.clear()
    page.open(first)
    page.run("document.querySelectorAll('img').forEach((image) => image.scrollIntoView())")
    wait(page)
    asked = {request["request"]["url"] for request in page.told("Network.requestWillBeSent")}
    pictures = {link for link in asked if "/report/pictures/" in link}
    assert asked - pictures - {"data:,"} == {first}
    assert len(pictures) == 2
    assert page.run("[...document.images].every((i) => i.naturalWidth > 100)")


@pytest.mark.parametrize(
    "script",
    [
        "new Image().src = 'https://example.org/a.png'",
        "document.head.innerHTML += '<style>p {color: red}</style>'",
        "document.body.innerHTML += '<p onclick=\"alert()\">'",
    ],
)
def test_what_the_page_is_not_made_of_is_refused_and_told(page, script):
    """The test above can fail: the page may load nothing, and the browser tells of it."""
    page.run(script)
    page.run("document.querySelector('p[onclick]')?.click()")
    page.run("console.error('lost')")
    wait(page)
    told = [e["entry"]["text"] for e in page.told("Log.entryAdded")]
    assert any("Security Policy" in text for text in told)
    assert page.told("Runtime.consoleAPICalled")


def test_the_switch_chooses_metric_epoch_and_difference(page):
    cell = "#geometry_sam-T1 tbody tr:first-child td:nth-child(3)"
    shown = lambda: [t for t in visible(page, f"{cell} .measured > span") if t]  # noqa: E731
    assert shown() == ["82.00 ± 4.97", "0.600 ± 0.248"]
    page.click("label:has(#show-loss)")
    assert shown() == ["0.600 ± 0.248"]
    page.click("label:has(#show-acc)")
    page.click("label:has(#at-last)")
    assert shown() == ["81.00 ± 4.97"]
    page.click("label:has(#as-diff)")
    assert shown() == ["▲ +11.00 ± 2.48"]
    assert visible(page, f"{cell} .as-printed .diff") == ["+1.48"]
    page.click("label:has(#at-best)")
    page.click("label:has(#show-both)")
    assert shown() == ["▲ +11.00 ± 2.48", "−0.500"]  # equal in all seeds: no interval


def test_a_table_without_losses_keeps_its_accuracy(page):
    page.click("label:has(#show-loss)")
    assert "82.00 ± 4.97" in visible(page, "#geometry_sam-S1 .measured > span")


def test_a_heading_sorts_by_what_is_shown(page):
    assert page.run(ROWS) == ["0.1", "0.2", "0.4"]
    button = "#geometry_sam-T1 th:nth-child(4) button"
    page.click(button)  # ckpt1: 77.00, 77.00, not run: last in either direction
    assert page.run(ROWS) == ["0.1", "0.2", "0.4"]
    page.click(button)
    assert page.run(ROWS) == ["0.1", "0.2", "0.4"]
    page.click(button)
    page.click("#geometry_sam-T1 th:nth-child(1) button")
    page.click("#geometry_sam-T1 th:nth-child(1) button")
    assert page.run(ROWS) == ["0.4", "0.2", "0.1"]
    sorting = "document.querySelector('#geometry_sam-T1 th').ariaSort"
    assert page.run(sorting) == "descending"
    page.click("#geometry_sam-T1 th:nth-child(1) button")
    assert page.run(ROWS) == ["0.1", "0.2", "0.4"]
    assert page.run(sorting) == "none"
    # ori-SAM minus SGD: 11, 11, none; as loss -0.5, none, none.
    page.click("label:has(#as-diff)")
    page.click("label:has(#show-loss)")
    page.click("#geometry_sam-T1 th:nth-child(3) button")
    page.click("#geometry_sam-T1 th:nth-child(3) button")
    assert page.run(ROWS)[0] == "0.1"


def test_claims_sort_by_verdict(page, first):
    page.open(first)
    page.click("#claims th:nth-child(4) button")
    page.click("#claims th:nth-child(4) button")
    ids = "[...document.querySelectorAll('#claims > table > tbody > tr')].map((r) => r.id)"
    assert page.run(ids) == ["claim-geometry_sam-C1", "claim-geometry_sam-C0"]


def test_a_cell_opens_and_closes(page):
    assert page.run(OPEN) is None
    for _ in range(2):
        page.click("#geometry_sam-T1 tbody tr:first-child td:nth-child(3) button")
        wait(page)
        assert page.run(f"{OPEN}.querySelector('h3').innerText") == "SAM, rho 0.1"
        assert "80.00" in page.run(f"{OPEN}.innerText")
        assert page.run(f"{OPEN}.querySelectorAll('polyline').length") == 6
        page.key("Escape")
        assert page.run(OPEN) is None
        assert page.run(f"{FOCUS}.matches('#geometry_sam-T1 td button')")


def test_a_cell_opens_on_every_part_of_a_large_table(page, tmp_path, monkeypatch):
    monkeypatch.setattr(page_tables, "ON_A_PAGE", 4)
    monkeypatch.setattr(cells, "IN_A_FILE", 2)
    plan = study(tmp_path, CLAIMS)
    record_all(plan)
    page.open(build(plan, plan.results / "report").with_name("geometry_sam.html").as_uri())
    page.click(".parts-of a")
    wait(page)
    assert page.run(ROWS) == ["0.2"]
    for at, title in enumerate(("SGD", "SAM, rho 0.2", "ckpt1, rho 0.2"), 2):
        page.click(f"#geometry_sam-T1 td:nth-child({at}) button")
        wait(page)
        assert page.run(f"{OPEN}.querySelector('h3').innerText") == title
        page.key("Escape")


def test_a_word_is_explained_where_it_is_used(page):
    """By pointer, by key and by tap; Escape takes it away."""
    page.run("document.querySelector('#geometry_sam-T1 thead a.term').focus()")
    assert "perturbation" in page.run(f"{WORD}.innerText")
    assert page.run(f"{FOCUS}.getAttribute('aria-describedby')") == "word"
    page.key("Escape")
    assert page.run(WORD) is None
    page.click("#geometry_sam-T1 .level a.term")
    assert "mechanisms" in page.run(f"{WORD}.innerText")
    left, right = page.run(f"(({{left, right}}) => [left, right])({WORD}.getBoundingClientRect())")
    assert 0 <= left < right <= 1200
    assert "#" not in page.run("location.href")


def test_contents_stay_beside_the_page_and_fold_where_it_is_narrow(page):
    page.run("scrollTo(0, document.body.scrollHeight)")
    assert page.run("document.querySelector('.contents').getBoundingClientRect().top") >= 0
    assert "Words" in page.run("document.querySelector('.contents').innerText")
    page.screen(390, 800)
    wait(page)
    assert "Words" not in page.run("document.querySelector('.contents').innerText")


def test_all_controls_can_be_reached_and_used_by_key(page):
    """Tab goes through links, words, summaries, headings, the switch, cells and exports."""
    kinds = {"nav a": 0, "a.term": 0, "summary": 0, "th button": 0, ".switch input": 0,
             "td button": 0, ".files a": 0}  # fmt: skip
    for _ in range(200):
        page.key("Tab")
        if page.run(f"{FOCUS} === document.body"):
            break
        assert page.run(f"({SHOWN})({FOCUS})")
        for kind in kinds:
            kinds[kind] += page.run(f"{FOCUS}.matches({kind!r})")
    assert min(kinds.values()) > 0
    assert kinds["td button"] == 9
    page.run("document.querySelector('#at-best').focus()")
    page.key("ArrowRight")
    assert page.run("document.querySelector('#at-last').checked")
    page.run("document.querySelector('#geometry_sam-T1 td button').focus()")
    page.key("Enter")
    wait(page)
    assert page.run(f"{FOCUS}.matches('dialog .close')")


def test_a_link_opens_what_is_folded_away(page, url, first):
    page.open("about:blank")
    page.open(f"{url}#cell/cnn3-digits/sam/rho=0.1")
    wait(page)
    assert page.run(f"{OPEN}.querySelector('h3').innerText") == "SAM, rho 0.1"
    page.open(f"{first}#claim-geometry_sam-C1")
    assert page.run("document.querySelector('#claim-geometry_sam-C1 details').open")


def test_a_command_is_copied_or_selected(page, first):
    page.open(first)
    page.click("#rerun .copy")
    page.run("new Promise((done) => setTimeout(done, 50))")
    said = page.run("document.querySelector('#rerun .copy').innerText")
    assert said in ("copied", "selected")
    if said == "selected":
        assert page.run("String(getSelection())") == "snakemake --config profile=tiny"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_ink_and_paper_contrast_in_both_schemes(page, scheme):
    """Of text, at least 4.5 to 1 (WCAG 2.1, AA), in marked cells and figures as well."""
    page.screen(1200, 900, scheme)
    for selector, behind in (("p", "body"), (".how", "body"), ("th", "body"), (".new span", ".new"),
                             (".as-printed", "body"),
                             (".legend .agrees", ".legend .agrees"),
                             (".legend .differs", ".legend .differs"), (".term", "body"),
                             (".is-new", ".new")):  # fmt: skip
        style = "getComputedStyle(document.querySelector({!r})).{}"
        ink = page.run(style.format(selector, "color"))
        paper = page.run(style.format(behind, "backgroundColor"))
        light, dark = sorted((_luminance(ink), _luminance(paper)), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 4.5, (selector, ink, paper)
        if selector == "p":
            assert (_luminance(paper) > 0.5) == (scheme == "light")


def _luminance(colour: str) -> float:
    """Relative luminance of ``rgb(r, g, b)``."""
    channels = [int(c) / 255 for c in colour[colour.index("(") + 1 : -1].split(",")[:3]]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


@pytest.mark.parametrize("width", [320, 390, 768, 1200])
def test_nothing_is_wider_than_the_window(page, width):
    page.screen(width, 800)
    assert page.run("document.documentElement.scrollWidth") <= width
    page.click("#geometry_sam-T1 td button")
    wait(page)
    edges = "getBoundingClientRect()"
    left, right = page.run(f"[{OPEN}.{edges}.left, {OPEN}.{edges}.right]")
    assert 0 <= left < right <= width


@pytest.mark.parametrize("width", [390, 768, 1440])
def test_the_first_page_is_no_wider_than_the_window(page, first, width):
    page.open(first)
    page.screen(width, 800)
    page.run("document.querySelectorAll('details').forEach((each) => (each.open = true))")
    assert page.run("document.documentElement.scrollWidth") <= width


def test_a_reason_that_names_many_settings_fits_a_phone(page, first):
    page.open(first)
    page.screen(390, 800)
    settings = "rho=best,val_size=5000,augment=autoaugment,weight_decay=best"
    count = page.run(
        "[...document.querySelectorAll('.claims .why')]"
        f".map((each) => (each.textContent = 'not significant at {settings}')).length"
    )
    assert count > 0
    assert page.run("document.documentElement.scrollWidth") <= 390


def test_a_long_name_of_a_number_is_whole_and_beside_its_line(browser, tmp_path):
    folder = write_study(tmp_path, tables={})
    path = folder / "reported/T1.csv"
    header, *_ = path.read_text().splitlines()
    metrics = ("test_acc_percent", "highest_test_acc_percent", "test_loss")
    rows = [f"RN18,CIFAR-100,SGD,sgd,0.1,,{metric},,,," for metric in metrics]
    path.write_text("\n".join([header, *rows, ""]))
    plan = load_plan({"profile": "tiny", "papers": [STUDY], "tables": ["T1"]}, tmp_path)
    record(plan, f"{RUNS}/sgd/base", [77.0, 77.4])
    browser.screen(390, 800)
    browser.open(build(plan, plan.results / "report").with_name("geometry_sam.html").as_uri())
    browser.run("document.querySelector('#geometry_sam-T1').scrollIntoView()")
    wait(browser)
    names, lines = (
        browser.run(
            f"[...document.querySelectorAll('#geometry_sam-T1 {of}')].map((e) => "
            "[e.getBoundingClientRect().top, e.scrollWidth - e.clientWidth, e.innerText])"
        )
        for of in ("td.of span", ".line")
    )
    assert "highest accuracy of all epochs, %" in [name for *_, name in names]
    assert {hidden for _, hidden, _ in names} == {0}
    assert [top for top, *_ in names] == pytest.approx([top for top, *_ in lines], abs=2)


@pytest.mark.slow
@pytest.mark.skipif(not AXE, reason="no axe-core: AXE=path/of/axe.min.js, as npm has it")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(page, url, first, scheme):
    page.screen(1200, 900, scheme)
    for address in (url, first):
        page.open(address)
        assert page.violations() == []


def test_print_leaves_out_what_paper_cannot_do(page):
    page.call("Emulation.setEmulatedMedia", media="print")
    assert visible(page, ".switch") == visible(page, ".copy") == visible(page, "nav") == []
    assert "82.00 ± 4.97" in visible(page, "#geometry_sam-T1 .measured > span")
    page.call("Emulation.setEmulatedMedia", media="")


def test_it_reads_and_switches_without_scripts(page, url):
    page.call("Emulation.setScriptExecutionDisabled", value=True)
    try:
        page.open(url)
        page.call("Emulation.setScriptExecutionDisabled", value=False)
        assert visible(page, ".sort, .copy") == []
        assert "Without scripts a number does not open" in visible(page, ".notice")[0]
        page.click("label:has(#show-loss)")
        assert "0.600 ± 0.248" in visible(page, "#geometry_sam-T1 .measured > span")
        assert "82.00 ± 4.97" not in visible(page, "#geometry_sam-T1 .measured > span")
    finally:
        page.call("Emulation.setScriptExecutionDisabled", value=False)
