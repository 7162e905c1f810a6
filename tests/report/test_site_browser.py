"""The report in a browser: headless Chromium through Playwright, where both are installed."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from ial_bench.datasets.dataset import Dataset
from ial_bench.progress import NoReport
from ial_bench.report.site.build import Options, build
from support.made_records import run_baselines
from support.made_results import NAME, Method, made_top, made_truth, write_results

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update",
    "--disable-sync",
]  # fmt: skip
QUERIES = 4_500
METHODS = [Method("a", "Alpha", 0.7, positions=True), Method("b", "Beta", 0.5), Method("c", "Gamma", 0.3)]
HOSTILE = "<img src=x onerror=document.title='hit'><script>document.title='hit'</script>"
SHOWN = "!document.querySelector('#app[aria-busy=true]')"
PATIENCE_S = 60.0


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("no Chromium is installed")
    with playwright.sync_playwright() as running:
        opened = running.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def site(tiny_city: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report on two datasets: a made one of some chunks, and one with photos."""
    folder = tmp_path_factory.mktemp("site")
    truth = made_truth(QUERIES)
    truth.ids[0] = HOSTILE
    write_results(folder / "results", truth, METHODS)
    run_baselines(tiny_city, folder)
    (folder / "data").mkdir()
    (folder / "data" / tiny_city.name).symlink_to(tiny_city.folder)
    names = [NAME, tiny_city.name]
    _, problems = build(folder / "out", names, Options(folder / "results", folder / "data"), NoReport())
    assert problems == []
    return folder / "out"


def wait(page: Any, true: str) -> None:
    """Until an expression is true. Playwright's own waiting evaluates texts in the page, which its policy forbids."""
    ends = time.monotonic() + PATIENCE_S
    while not page.evaluate(true):
        assert time.monotonic() < ends, true
        page.wait_for_timeout(20)


@dataclass
class Tab:
    """A page that is opened, and what it did that no page may."""

    page: Any
    site: Path
    faults: list[str] = field(default_factory=list)

    def open(self, path: str) -> Any:
        """Go to a page of the report, and wait for what it loads."""
        self.page.goto("about:blank")
        self.page.goto(f"{self.site.as_uri()}/{path}")
        wait(self.page, SHOWN)
        return self.page

    def settled(self) -> Any:
        """Wait for what was asked for."""
        self.page.wait_for_timeout(50)
        wait(self.page, SHOWN)
        return self.page

    def texts(self, selector: str) -> list[str]:
        found: list[str] = self.page.locator(selector).all_inner_texts()
        return found


@pytest.fixture
def tab(browser: Any, site: Path) -> Iterator[Tab]:
    """A tab 1280 pixels wide, in which no page may tell of a fault or ask for anything outside the report."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    opened = Tab(context.new_page(), site)
    own = f"{site.as_uri()}/"
    opened.page.on("console", lambda m: opened.faults.append(f"console: {m.text}"))
    opened.page.on("pageerror", lambda e: opened.faults.append(f"error: {e}"))
    opened.page.on("request", lambda r: None if r.url.startswith(own) else opened.faults.append(f"asked: {r.url}"))
    yield opened
    context.close()
    assert opened.faults == []


def pages(site: Path) -> list[str]:
    return [str(p.relative_to(site)) for p in sorted(site.rglob("*.html"))]


@pytest.mark.parametrize("width", [1280, 400])
def test_no_page_scrolls_sideways_and_none_tells_of_a_fault(tab: Tab, site: Path, width: int) -> None:
    tab.page.set_viewport_size({"width": width, "height": 800})
    for path in pages(site):
        page = tab.open(path)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path
        assert page.locator("h1").is_visible()
        assert page.evaluate("document.title") != "hit"


def test_the_leaderboard_sorts_and_its_columns_are_chosen(tab: Tab) -> None:
    page = tab.open("index.html")
    rows = f"#t-{NAME} tbody:first-of-type tr th"
    assert tab.texts(rows) == ["Alpha", "Beta", "Gamma"]
    heading = page.locator(f"#t-{NAME} th[data-key='SSA-1'] button")
    heading.click()
    assert tab.texts(rows) == ["Alpha", "Beta", "Gamma"]
    heading.press("Enter")
    assert tab.texts(rows) == ["Gamma", "Beta", "Alpha"]
    assert page.locator(f"#t-{NAME} th[data-key='SSA-1']").get_attribute("aria-sort") == "ascending"
    assert not page.locator(f"#t-{NAME} th[data-key='MRR']").is_visible()
    page.locator(f"#{NAME} details.columns summary").click()
    page.locator(f"#{NAME} .choices label", has_text="MRR").locator("input").check()
    assert page.locator(f"#t-{NAME} th[data-key='MRR']").is_visible()
    link = page.url.partition("index.html")[2]
    tab.open(f"index.html{link}")
    assert tab.texts(rows) == ["Gamma", "Beta", "Alpha"]
    assert page.locator(f"#t-{NAME} th[data-key='MRR']").is_visible()


def right_of(method: Method) -> list[bool]:
    truth = made_truth(QUERIES)
    return [bool(r) for r in made_top(truth, method).indices[:, 0] == truth.labels]


def test_queries_are_filtered(tab: Tab) -> None:
    page = tab.open(f"datasets/{NAME}/queries.html")
    alpha, beta, gamma = (right_of(m) for m in METHODS)
    assert tab.texts(".status") == [f"{QUERIES:,} of {QUERIES:,} queries"]
    page.locator("select[name=agree]").select_option("disagree")
    tab.settled()
    disagree = [i for i in range(QUERIES) if len({alpha[i], beta[i], gamma[i]}) > 1]
    assert tab.texts(".status") == [f"{len(disagree):,} of {QUERIES:,} queries"]
    assert [int(c.get_attribute("data-query")) for c in page.locator(".card").all()] == disagree[:10]
    page.get_by_label("show queries where Alpha is").select_option("wrong")
    tab.settled()
    page.get_by_label("show queries where Beta is").select_option("right")
    tab.settled()
    both = [i for i in disagree if not alpha[i] and beta[i]]
    assert tab.texts(".status") == [f"{len(both):,} of {QUERIES:,} queries"]
    page.locator("select[name=nb]").select_option("Quarter 2")
    tab.settled()
    truth = made_truth(QUERIES)
    there = [i for i in both if truth.addresses[truth.address_rows[i]].neighbourhood == "Quarter 2"]
    assert tab.texts(".status") == [f"{len(there):,} of {QUERIES:,} queries"]
    page.get_by_role("button", name="Show all queries").click()
    tab.settled()
    assert tab.texts(".status") == [f"{QUERIES:,} of {QUERIES:,} queries"]


def test_queries_are_paged_by_buttons_and_keys(tab: Tab) -> None:
    page = tab.open(f"datasets/{NAME}/queries.html")
    first = page.locator(".card").first
    page.get_by_role("button", name="Next").first.click()
    tab.settled()
    assert first.get_attribute("data-query") == "10"
    page.locator("h1").click()
    page.keyboard.press("ArrowRight")
    tab.settled()
    assert first.get_attribute("data-query") == "20"
    page.get_by_role("button", name="Last").first.click()
    tab.settled()
    assert page.locator(".card").last.get_attribute("data-query") == str(QUERIES - 1)
    assert page.get_by_role("button", name="Next").first.is_disabled()
    page.go_back()
    tab.settled()
    assert first.get_attribute("data-query") == "20"


def test_a_link_opens_what_it_was_taken_from(tab: Tab) -> None:
    page = tab.open(
        f"datasets/{NAME}/queries.html#page=250&runs=0000000000000002,0000000000000000&is.0000000000000002=wrong"
    )
    gamma = right_of(METHODS[2])
    wrong = [i for i in range(QUERIES) if not gamma[i]]
    assert [int(c.get_attribute("data-query")) for c in page.locator(".card").all()] == wrong[2490:2500]
    assert tab.texts(".card:first-child .answer h3") == ["Gamma", "Alpha"]
    page.locator(".card").first.get_by_text("link to this query").click()
    tab.settled()
    assert page.locator(".card").count() == 1
    assert page.locator(".card").get_attribute("data-query") == str(wrong[2490])


def test_a_card_shows_what_was_answered(tab: Tab) -> None:
    truth = made_truth(QUERIES)
    i = 2_345
    page = tab.open(f"datasets/{NAME}/queries.html#q={i + 1}")
    top = made_top(truth, METHODS[0])
    named = [truth.addresses[truth.candidate_rows[c]].text for c in top.indices[i, :5]]
    assert tab.texts(".answer:first-child li .address") == named
    scores = [float(s) for s in tab.texts(".answer:first-child li .score")]
    assert scores == pytest.approx(top.scores[i, :5].tolist(), rel=1e-3)
    assert tab.texts(".truth > .address") == [truth.addresses[truth.address_rows[i]].text]
    assert page.locator(".no-photo").is_visible()


def test_hostile_ids_are_shown_and_do_nothing(tab: Tab) -> None:
    page = tab.open(f"datasets/{NAME}/queries.html")
    assert page.locator(".card").first.locator("code").first.inner_text() == HOSTILE
    assert page.evaluate("document.title") != "hit"
    assert page.locator(".card img").count() == 0


def test_photos_are_shown(tab: Tab, tiny_city: Dataset) -> None:
    page = tab.open(f"datasets/{tiny_city.name}/queries.html")
    page.locator(".card img").first.scroll_into_view_if_needed()
    wait(page, "document.querySelector('.card img').naturalWidth > 0")


def test_the_map_shows_a_query_and_its_answers(tab: Tab) -> None:
    page = tab.open(f"datasets/{NAME}/map.html#q=7&lines=1")
    assert page.locator(".chosen .card").get_attribute("data-query") == "6"
    pixels = "document.querySelector('canvas').getContext('2d').getImageData(0, 0, 800, 600).data"
    wait(page, f"new Set(new Uint32Array({pixels}.buffer)).size > 5")
    canvas = page.locator("canvas")
    canvas.focus()
    for key in ("+", "ArrowLeft", "-", "0", "n"):
        canvas.press(key)
    tab.settled()
    assert page.locator(".chosen .card").get_attribute("data-query") == "7"
    page.get_by_role("button", name="Close").click()
    tab.settled()
    assert page.locator(".chosen .card").count() == 0
    page.get_by_label("it is").select_option("far")
    tab.settled()
    assert f"of {QUERIES:,} queries" in tab.texts(".status")[0]


def test_the_comparison_leads_to_the_queries(tab: Tab) -> None:
    page = tab.open(f"datasets/{NAME}/compare.html")
    alpha, _, gamma = (right_of(m) for m in METHODS)
    page.locator("select[name=b]").select_option(label="Gamma")
    only = sum(a and not g for a, g in zip(alpha, gamma, strict=True))
    link = page.locator(".confusion tbody tr:first-child td").last.locator("a")
    assert link.inner_text().split()[0] == f"{only:,}"
    link.click()
    tab.settled()
    assert tab.texts(".status") == [f"{only:,} of {QUERIES:,} queries"]
    page = tab.open(f"datasets/{NAME}/compare.html#a=2&b=0")
    assert "A − B: −" in page.locator("h2").first.inner_text()


def test_light_and_dark(tab: Tab) -> None:
    page = tab.open("index.html")
    paper = "getComputedStyle(document.body).backgroundColor"
    page.emulate_media(color_scheme="light")
    light = page.evaluate(paper)
    page.emulate_media(color_scheme="dark")
    dark = page.evaluate(paper)
    assert light != dark
    page.locator("#theme").click()
    assert page.evaluate(paper) == light
    page.locator("#theme").click()
    assert page.evaluate(paper) == dark
