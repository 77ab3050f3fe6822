"""The page while it is made: how far it is, what is there, and what a stop leaves."""

import shutil
import time
from contextlib import suppress

import pytest

from chromium import BINARY, Chromium
from pages import CLAIMS, Page, page, words
from samscope.analysis import tables, verdicts
from samscope.report import live
from small_study import RUNS, STUDY, record_all, study


@pytest.fixture
def plan(tmp_path):
    plan = study(tmp_path, CLAIMS)
    record_all(plan)
    return plan


def shown(plan) -> str:
    return (plan.results / "report/index.html").read_text()


def test_it_says_how_far_it_is_and_shows_what_is_there(plan):
    shutil.rmtree(plan.run_dir(f"{RUNS}/sam/rho=0.2"))
    live.write(plan, "runs 3/21", going=True)
    Page(shown(plan))
    text = words(shown(plan))
    assert "Being made. runs 3/21." in text
    assert "6 of 7 cells have been run. No verdict yet." in text
    assert "T1 (not yet) , S1 (not yet)" in text
    tables.write(plan, STUDY, "T1", plan.results / "tables" / STUDY)
    verdicts.write(plan, STUDY)
    live.write(plan, "The workflow stopped: runs 4/21.", going=False)
    text = words(shown(plan))
    assert "Not finished. The workflow stopped: runs 4/21." in text
    assert "S1 (not yet)" in text
    assert "T1 (not yet)" not in text
    assert "1 not run, 1 supported" in text
    assert 'href="../tables/geometry_sam/T1.md"' in shown(plan)
    assert "data-written" not in shown(plan).partition("<script>")[0]


def test_it_is_older_than_all_else_so_that_it_is_never_taken_for_the_page(plan):
    page(plan)
    finished = shown(plan)
    for told in ("runs 3/21", "runs 4/21"):
        live.write(plan, told, going=True)
        assert (plan.results / "report/index.html").stat().st_mtime == 0
        assert (plan.results / "report/before.html").read_text() == finished
        assert 'href="before.html"' in shown(plan)
    page(plan)
    assert shown(plan) == finished
    assert (plan.results / "report/index.html").stat().st_mtime > 0
    assert not (plan.results / "report/before.html").exists()


def test_it_is_followed_until_the_page_makes_itself(plan, monkeypatch):
    monkeypatch.setattr(live, "EVERY", 0.01)
    said = iter(["Starting", "runs 1/2", "", "", "runs 2/2"])
    seen = []
    monkeypatch.setattr(live, "write", lambda plan, told, going: seen.append((told, going)))
    end = live.follow(plan, lambda: next(said, ""))
    while len(seen) < 3:
        pass
    end("")
    assert seen == [("Starting", True), ("runs 1/2", True), ("runs 2/2", True)]
    live.follow(plan, lambda: "")("It failed.")
    assert seen[-1] == ("It failed.", False)


def test_news_that_cannot_be_written_stop_nothing(plan, monkeypatch):
    monkeypatch.setattr(live, "EVERY", 0.01)
    (plan.results / "report").write_text("a file where the folder belongs")
    with pytest.raises(OSError, match="exists"):
        live.write(plan, "runs 1/2", going=True)
    end = live.follow(plan, lambda: "runs 1/2")
    time.sleep(0.05)
    end("It failed.")


def until(browser, words: str) -> None:
    """Wait for what a page that loads itself again will say."""
    end = time.monotonic() + 30
    while time.monotonic() < end:
        with suppress(RuntimeError):  # it is on its way to the next
            if words in browser.run("document.body?.innerText ?? ''"):
                return
        time.sleep(0.05)
    raise AssertionError(words)


@pytest.mark.skipif(not BINARY, reason="no Chromium (Debian: apt install chromium)")
def test_it_looks_for_news_and_says_when_there_are_none(plan, tmp_path, monkeypatch):
    monkeypatch.setattr(live, "EVERY", 0.3)
    live.write(plan, "runs 3/21", going=True)
    path, browser = plan.results / "report/index.html", Chromium(tmp_path / "profile")
    try:
        browser.open(path.as_uri())
        until(browser, "runs 3/21")
        page(plan)
        until(browser, "What was found")
        loaded = browser.run("performance.timeOrigin")
        browser.run("new Promise((done) => setTimeout(done, 700))")
        assert browser.run("performance.timeOrigin") == loaded
        monkeypatch.setattr(live.time, "time", lambda: 0.0)  # of fifty years ago
        live.write(plan, "runs 3/21", going=True)
        browser.open(path.as_uri())
        until(browser, "No news for ten minutes")
    finally:
        browser.close()
