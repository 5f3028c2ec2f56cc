"""The page in a real browser, from disk: it sorts, switches, plays, goes dark, prints, and asks nothing of a network.

Needs Chromium with its driver, and selenium; skips, saying so, where one is missing.
"""

from __future__ import annotations

import base64
import json
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("jinja2", reason="the page needs jinja2")
pytest.importorskip("selenium", reason="the browser test needs selenium")

from fake_leaderboard import STRANGER, scored_workspace
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import Select, WebDriverWait

from remixbench.leaderboard.leaderboard import load_leaderboard
from remixbench.leaderboard.report import _write_page, report
from remixbench.leaderboard.rows import Estimate
from remixbench.progress import SILENT

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(
    CHROMIUM is None or DRIVER is None, reason="no chromium with chromedriver on this machine"
)
QUIET = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--mute-audio",
    "--hide-scrollbars", "--window-size=1280,900", "--force-prefers-reduced-motion",
)  # fmt: skip
WAIT_S = 20


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    workspace = tmp_path_factory.mktemp("workspace")
    scored_workspace(workspace)
    return report(workspace=workspace, clips=4)


@pytest.fixture(scope="module")
def driver() -> Iterator[webdriver.Chrome]:
    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    with tempfile.TemporaryDirectory() as profile:
        for argument in (*QUIET, f"--user-data-dir={profile}"):
            options.add_argument(argument)
        started = webdriver.Chrome(options=options, service=Service(DRIVER))
        yield started
        started.quit()


@pytest.fixture
def opened(driver: webdriver.Chrome, page: Path) -> Iterator[webdriver.Chrome]:
    """The page, freshly opened; at the end nothing may have been complained of."""
    driver.get(page.as_uri())
    until(driver, "return document.querySelectorAll('figure.chart svg').length >= 5")
    driver.get_log("performance")
    try:
        yield driver
    finally:
        driver.execute_script("localStorage.clear()")
    assert [entry for entry in driver.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")] == []


def until(driver: webdriver.Chrome, script: str, *arguments: Any) -> Any:
    return WebDriverWait(driver, WAIT_S).until(lambda _: driver.execute_script(script, *arguments))


def shown_table(driver: webdriver.Chrome) -> WebElement:
    return next(table for table in driver.find_elements(By.CSS_SELECTOR, "table.sortable") if table.is_displayed())


def values(table: WebElement, column: int) -> list[float]:
    cells = table.find_elements(By.CSS_SELECTOR, f"tbody td:nth-child({column})")
    return [float(str(cell.get_attribute("data-value"))) for cell in cells]


def test_a_click_on_a_heading_sorts_the_best_to_the_top_and_another_turns_it(opened: webdriver.Chrome) -> None:
    table = shown_table(opened)
    before = values(table, 2)
    assert before == sorted(before, reverse=True)  # ranked
    heading = table.find_element(By.CSS_SELECTOR, "thead tr:last-child th:nth-child(2)")
    heading.find_element(By.TAG_NAME, "button").click()
    assert heading.get_attribute("aria-sort") == "descending"
    assert values(table, 2) == before
    heading.find_element(By.TAG_NAME, "button").send_keys(Keys.ENTER)
    assert heading.get_attribute("aria-sort") == "ascending"
    assert values(table, 2) == sorted(before) != before


def test_an_error_rate_sorts_the_lowest_to_the_top(opened: webdriver.Chrome) -> None:
    table = next(t for t in opened.find_elements(By.CSS_SELECTOR, "table.sortable") if "segment ER" in t.text)
    heads = table.find_elements(By.CSS_SELECTOR, "thead tr:last-child th")
    place = next(index for index, head in enumerate(heads) if "segment ER" in head.text)
    heads[place].find_element(By.TAG_NAME, "button").click()
    assert heads[place].get_attribute("aria-sort") == "ascending"
    found = table.find_elements(By.CSS_SELECTOR, f"tbody tr > :nth-child({place + 1})")
    rates = [float(rate) for cell in found if (rate := cell.get_attribute("data-value"))]
    assert rates == sorted(rates)
    assert len(rates) < len(found)  # the third party's tags have none
    assert found[-1].get_attribute("data-value") is None


def test_arrow_keys_move_between_ratios_and_the_charts_follow(opened: webdriver.Chrome) -> None:
    tabs = opened.find_elements(By.CSS_SELECTOR, "[role=tab]")
    assert [tab.text for tab in tabs] == ["20 dB", "0 dB"]
    assert "at 20 dB" in opened.find_element(By.CSS_SELECTOR, "#chart-forest figcaption").text
    tabs[0].send_keys(Keys.ARROW_RIGHT)
    assert [tab.get_attribute("aria-selected") for tab in tabs] == ["false", "true"]
    assert opened.switch_to.active_element == tabs[1]
    panels = opened.find_elements(By.CSS_SELECTOR, "[role=tabpanel]")
    assert [panel.is_displayed() for panel in panels] == [False, True]
    for chart in ("forest", "classes", "learning"):
        assert "at 0 dB" in opened.find_element(By.CSS_SELECTOR, f"#chart-{chart} figcaption").text


def test_another_figure_is_drawn(opened: webdriver.Chrome) -> None:
    Select(opened.find_element(By.ID, "metric")).select_by_visible_text("macro-AP")
    for chart in ("forest", "noise", "size"):
        figure = opened.find_element(By.ID, f"chart-{chart}")
        assert figure.find_element(By.TAG_NAME, "figcaption").text.startswith("macro-AP")
        assert "macro-AP" in str(figure.find_element(By.TAG_NAME, "svg").get_attribute("aria-label") or figure.text)


def test_whiskers_and_points_are_drawn_for_every_system(opened: webdriver.Chrome) -> None:
    heads = shown_table(opened).find_elements(By.CSS_SELECTOR, "tbody th")
    rows = sum(head.text != "chance" for head in heads)
    assert rows == len(heads) - 1
    forest = opened.find_element(By.ID, "chart-forest")
    assert len(forest.find_elements(By.CSS_SELECTOR, "g[data-mark=dot] path")) == rows
    assert len(forest.find_elements(By.CSS_SELECTOR, "g[data-mark=rule] line")) == rows


def test_scores_stand_against_operations(opened: webdriver.Chrome) -> None:
    figure = opened.find_element(By.ID, "chart-cost")
    trained = opened.execute_script("return page.data.rows.filter(({macs}) => macs).length")
    assert len(figure.find_elements(By.CSS_SELECTOR, "g[data-mark=dot] path")) == trained > 0
    assert "MACs" in figure.find_element(By.TAG_NAME, "figcaption").text
    assert "4.00 M" in opened.find_element(By.CSS_SELECTOR, "#cost table").text  # of gwrp


def test_a_clip_plays_and_the_playhead_moves(opened: webdriver.Chrome) -> None:
    head = "return document.querySelector('.playhead').getBoundingClientRect().left"
    audio = opened.find_element(By.TAG_NAME, "audio")
    until(opened, "return arguments[0].readyState >= 2", audio)
    assert opened.execute_script("return arguments[0].duration", audio) == pytest.approx(2.0, abs=0.05)
    start = opened.execute_script(head)
    opened.execute_script("arguments[0].scrollIntoView({block: 'center'})", audio)
    audio.send_keys(Keys.SPACE)
    until(opened, "return arguments[0].currentTime > 0.2", audio)
    assert opened.execute_script(head) > start + 10


def test_stems_play_from_the_same_place(opened: webdriver.Chrome) -> None:
    audio = opened.find_element(By.TAG_NAME, "audio")
    until(opened, "return arguments[0].readyState >= 2", audio)
    opened.execute_script("arguments[0].currentTime = 1", audio)
    before = audio.get_attribute("src")
    opened.find_element(By.CSS_SELECTOR, "input[value=scene]").click()
    until(opened, "return arguments[0].readyState >= 2 && arguments[0].src !== arguments[1]", audio, before)
    assert until(opened, "return arguments[0].currentTime", audio) == pytest.approx(1, abs=0.1)


def test_a_separated_class_plays_with_its_own_spectrogram(opened: webdriver.Chrome) -> None:
    pixels = "return document.querySelector('svg[aria-label^=Log-mel] image').getAttribute('href')"
    mixture = opened.execute_script(pixels)
    choice = opened.find_element(By.CSS_SELECTOR, "#explorer fieldset:nth-of-type(2) input[type=radio]")
    before = opened.find_element(By.TAG_NAME, "audio").get_attribute("src")
    choice.click()
    heading = opened.find_element(By.CSS_SELECTOR, ".stack h3").text
    assert heading.endswith(" by gwrp")
    assert opened.execute_script(pixels) != mixture
    assert opened.find_element(By.TAG_NAME, "audio").get_attribute("src") != before
    opened.find_element(By.CSS_SELECTOR, "input[value=mixture]").click()
    assert opened.execute_script(pixels) == mixture


def test_choosing_a_clip_and_hiding_a_system_redraws(opened: webdriver.Chrome) -> None:
    buttons = opened.find_elements(By.CSS_SELECTOR, ".clip-list button")
    assert [button.get_attribute("aria-pressed") for button in buttons] == ["true", "false", "false", "false"]
    buttons[1].send_keys(Keys.ENTER)
    assert buttons[1].get_attribute("aria-pressed") == "true"
    name = buttons[1].text.split(",")[0]
    assert f"Clip {name} " in opened.find_element(By.CSS_SELECTOR, "#explorer .caption").text
    lines = "return document.querySelectorAll('.stack svg:last-of-type g[data-mark=line]').length"
    before = opened.execute_script(lines)
    opened.find_element(By.CSS_SELECTOR, "#explorer input[type=checkbox]").send_keys(Keys.SPACE)
    assert opened.execute_script(lines) == before - 1


def test_a_click_into_the_picture_seeks(opened: webdriver.Chrome) -> None:
    audio = opened.find_element(By.TAG_NAME, "audio")
    until(opened, "return arguments[0].readyState >= 2", audio)
    picture = opened.find_element(By.CSS_SELECTOR, ".stack")
    opened.execute_script("arguments[0].scrollIntoView({block: 'center'})", picture)
    webdriver.ActionChains(opened).move_to_element(picture).click().perform()
    assert 0.5 < until(opened, "return arguments[0].currentTime", audio) < 1.5


def test_dark_and_light(opened: webdriver.Chrome) -> None:
    ground = "return getComputedStyle(document.body).backgroundColor"
    button = opened.find_element(By.ID, "theme")
    assert (opened.execute_script(ground), button.text) == ("rgb(255, 255, 255)", "Dark")
    button.click()
    assert (opened.execute_script(ground), button.text) == ("rgb(20, 22, 26)", "Light")
    opened.refresh()
    assert opened.execute_script(ground) == "rgb(20, 22, 26)"  # kept, and set before anything is painted


def test_a_third_partys_name_runs_no_script(opened: webdriver.Chrome) -> None:
    assert opened.execute_script("return window.hacked") is None
    names = [cell.text for cell in shown_table(opened).find_elements(By.CSS_SELECTOR, "tbody th")]
    assert any(STRANGER in name for name in names)
    assert opened.find_elements(By.TAG_NAME, "img") == []


def test_no_request_leaves_the_page(opened: webdriver.Chrome, page: Path) -> None:
    opened.get(page.as_uri())
    until(opened, "return document.querySelectorAll('figure.chart svg').length >= 5")
    sent = [json.loads(entry["message"])["message"] for entry in opened.get_log("performance")]
    asked = {event["params"]["request"]["url"] for event in sent if event["method"] == "Network.requestWillBeSent"}
    assert page.as_uri() in asked
    assert [url for url in asked if not url.startswith((page.as_uri(), "data:", "blob:"))] == []


@pytest.mark.parametrize("width", [360, 768, 1280])
def test_nothing_sticks_out_sideways(opened: webdriver.Chrome, width: int) -> None:
    size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 500}
    opened.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        until(opened, "return document.documentElement.clientWidth === arguments[0]", width)
        until(opened, "return document.documentElement.scrollWidth <= arguments[0]", width)
    finally:
        opened.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_print_shows_every_ratio_and_the_origin_of_every_row(opened: webdriver.Chrome, tmp_path: Path) -> None:
    printed = opened.execute_cdp_cmd("Page.printToPDF", {"printBackground": False})
    file = tmp_path / "page.pdf"
    file.write_bytes(base64.b64decode(printed["data"]))
    assert file.read_bytes().startswith(b"%PDF")
    opened.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    try:
        opened.execute_script("window.dispatchEvent(new Event('beforeprint'))")
        panels = opened.find_elements(By.CSS_SELECTOR, "[role=tabpanel]")
        assert [panel.is_displayed() for panel in panels] == [True, True]
        assert all(table.is_displayed() for table in opened.find_elements(By.CSS_SELECTOR, "#made table"))
        assert not opened.find_element(By.CSS_SELECTOR, ".tabs").is_displayed()
    finally:
        opened.execute_script("window.dispatchEvent(new Event('afterprint'))")
        opened.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})


def test_everything_that_can_be_operated_has_a_name(opened: webdriver.Chrome) -> None:
    nameless = opened.execute_script(
        "return [...document.querySelectorAll('button, select, input, audio, summary, [role=region], [role=tab]')]"
        ".filter((element) => !(element.textContent.trim() || element.getAttribute('aria-label')"
        " || element.closest('label')?.textContent.trim())).map((element) => element.outerHTML)"
    )
    assert nameless == []
    charts = opened.find_elements(By.CSS_SELECTOR, "main svg:not([aria-hidden=true])")
    assert len(charts) >= 8
    assert {chart.get_attribute("role") for chart in charts} == {"img"}
    assert all(chart.get_attribute("aria-label") for chart in charts)


def test_sections_without_content_are_left_out(opened: webdriver.Chrome, page: Path) -> None:
    links = [link.get_attribute("href").split("#")[1] for link in opened.find_elements(By.CSS_SELECTOR, "nav a")]
    assert links == ["results", "cost", "classes", "noise", "size", "learning", "clips", "made"]
    sections = [section.get_attribute("id") for section in opened.find_elements(By.CSS_SELECTOR, "main > section")]
    assert sections == links


def test_rates_of_psds_are_seen_without_scrolling(opened: webdriver.Chrome) -> None:
    table = next(t for t in opened.find_elements(By.CSS_SELECTOR, "table.sortable") if "PSDS 1" in t.text)
    heads = table.find_elements(By.CSS_SELECTOR, "thead tr:last-child th")
    psds = next(head for head in heads if head.text.startswith("PSDS 1"))
    assert psds.rect["x"] + psds.rect["width"] <= 1280
    assert max(head.rect["height"] for head in heads) < 70  # two lines


def test_decibels_below_zero_lie_on_the_chart(driver: webdriver.Chrome, tmp_path: Path) -> None:
    """SDR has no smallest value, and the axis goes as far as the whiskers."""
    workspace = tmp_path / "workspace"
    dataset = scored_workspace(workspace)
    board = load_leaderboard(workspace, dataset)
    rows = [
        replace(row, conditions={snr: replace(each, metrics={"sdr": Estimate(-4.0 - place, -30.0, 2.0)})
                                 for snr, each in row.conditions.items()})
        for place, row in enumerate(board.rows)
    ]  # fmt: skip
    page = tmp_path / "page.html"
    _write_page(page, replace(board, rows=tuple(rows)), "", [], SILENT)
    driver.get(page.as_uri())
    until(driver, "return document.querySelectorAll('#chart-forest svg').length")
    outside = driver.execute_script(
        "const svg = document.querySelector('#chart-forest svg'), box = svg.getBoundingClientRect();"
        "return [...svg.querySelectorAll('g[data-mark=dot] path, g[data-mark=rule] line')]"
        ".map((mark) => mark.getBoundingClientRect())"
        ".filter(({left, right}) => left < box.left + 40 || right > box.right).length"
    )
    assert outside == 0
