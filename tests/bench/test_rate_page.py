"""The rating page and a kit in a real browser: keys, buttons, pause, reload, dark, phone; nothing leaves this machine."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bench.studies import serving, write_study
from tests.browser import Page, browser_page, find_browser
from vsr.bench.kit import export_kit, merge
from vsr.bench.opinions import read_log
from vsr.bench.rate import RatingServer
from vsr.bench.session import Session
from vsr.bench.study import open_study

pytestmark = [pytest.mark.slow, pytest.mark.skipif(find_browser() is None, reason="no Chromium here")]
TOTAL = 14


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with browser_page(tmp_path_factory.mktemp("profile")) as page:
        page.screen(1000, 700)
        yield page


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_study(tmp_path / "study", size=(240, 160))


@pytest.fixture
def server(folder: Path) -> Iterator[RatingServer]:
    with serving(folder) as server:
        yield server


def begin(page: Page) -> None:
    """Past the welcome and the examples, to the first picture."""
    page.click("#go")
    page.wait_for("screen === 'example' && !busy")
    for number in range(8):
        assert (
            page.run("document.querySelector('#note strong').textContent")
            == ["This is a 1: bad", "This is a 5: excellent"][number % 2]
        )
        page.click("#next")
        page.wait_for("!busy")
    page.wait_for("screen === 'rate'")


def settle(page: Page) -> None:
    """Until an answer counts."""
    page.wait_for("screen === 'rate' && !busy && performance.now() - shown > SETTLE_MS + 20")


def press(page: Page, score: int) -> None:
    settle(page)
    done = page.run("state.done")
    page.key(str(score), code=f"Digit{score}")
    page.wait_for(f"state.done === {done + 1} && !busy")


def test_keys_buttons_pause_and_reload(page: Page, server: RatingServer, folder: Path) -> None:
    page.open(server.url)
    begin(page)
    page.key("9")
    page.key("a")
    press(page, 4)
    settle(page)
    page.click("#scores button[data-score='2']")
    page.wait_for("state.done === 2 && !busy")
    settle(page)
    page.run("document.querySelector(\"#scores button[data-score='5']\").focus()")
    page.key(" ", code="Space")  # as a screen reader presses it
    page.wait_for("state.done === 3 && !busy")
    settle(page)
    page.key("p", code="KeyP")
    assert page.run("document.getElementById('title').textContent") == "Paused"
    assert page.run("document.getElementById('show').hidden")
    page.key("3")  # nobody sees what this would rate
    page.click("#go")
    settle(page)
    assert page.run("document.getElementById('where').textContent") == f"Picture 4 of {TOTAL}"
    page.open(server.url)  # a reload: no examples again, the same picture
    page.click("#go")
    settle(page)
    assert page.run("state.done") == 3
    for score in (1, 2, 3, 4, 5, 1, 2, 3, 4, 5, 1):
        press(page, score)
    assert page.run("document.getElementById('title').textContent") == f"Done: {TOTAL} pictures rated. Thank you."
    scores = [rating.score for rating in read_log(folder / "ratings.jsonl").ratings]
    assert scores == [4, 2, 5, 1, 2, 3, 4, 5, 1, 2, 3, 4, 5, 1]
    assert {address.split("/")[2] for address in page.requests} == {f"127.0.0.1:{server.server_port}"}
    assert page.complaints == []


@pytest.mark.parametrize(("ratio", "width"), [(1, 240), (2, 120), (1.25, 192)])
def test_a_pixel_is_a_pixel_of_the_screen(page: Page, server: RatingServer, ratio: float, width: float) -> None:
    page.screen(1000, 700, ratio=ratio)
    page.open(server.url)
    begin(page)
    box = page.run(
        "(() => { const b = document.getElementById('picture').getBoundingClientRect(); return [b.width, b.height]; })()"
    )
    assert box == pytest.approx([width, width * 160 / 240])
    assert page.run("getComputedStyle(document.getElementById('picture')).imageRendering") == "auto"
    page.screen(1000, 700)


def test_light_and_dark_differ_but_for_what_surrounds_the_picture(page: Page, server: RatingServer) -> None:
    page.open(server.url)
    page.click("#go")
    page.wait_for("screen === 'example' && !busy")
    colors = {}
    for scheme in ("light", "dark"):
        page.prefer(scheme)
        colors[scheme] = [
            page.run(f"getComputedStyle(document.querySelector('{name}')).backgroundColor") for name in ("body", "#stage")
        ]
    assert colors["light"][0] != colors["dark"][0]
    assert colors["light"][1] == colors["dark"][1]


def test_all_fits_on_a_phone(page: Page, server: RatingServer) -> None:
    page.screen(360, 640, ratio=2, phone=True)
    page.open(server.url)
    begin(page)
    assert page.run("document.documentElement.scrollWidth <= innerWidth")
    for score in range(1, 6):
        x, y = page.middle(f"#scores button[data-score='{score}']")
        assert 0 < x < 360 and 0 < y < 640
    page.screen(1000, 700)


def test_a_larger_picture_is_scrolled_and_said_to_be(page: Page, server: RatingServer) -> None:
    page.screen(200, 500)
    page.open(server.url)
    begin(page)
    assert "scroll" in page.run("document.getElementById('note').textContent")
    page.screen(1000, 700)


def test_a_server_that_is_gone_is_said(page: Page, folder: Path) -> None:
    with RatingServer(Session(open_study(folder), folder / "ratings.jsonl", "anna", 0), 0) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        page.open(server.url)
        begin(page)
        server.shutdown()
        thread.join()
    settle(page)
    page.key("3")
    page.wait_for("screen === 'talk'")
    assert "start the same command again" in page.run("document.getElementById('text').textContent")


def test_a_kit_from_a_file_resumes_and_gives_ratings(page: Page, folder: Path, tmp_path: Path) -> None:
    study = open_study(folder)
    export_kit(study, tmp_path / "kit.html", 0, None, 10_000_000)
    page.call("Page.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
    page.open((tmp_path / "kit.html").as_uri())
    page.click("#go")
    assert page.run("screen") == "talk"  # without a name it does not begin
    page.run("document.getElementById('name').value = 'Ben Ö'")
    begin(page)
    for score in (5, 4, 3):
        press(page, score)
    page.open((tmp_path / "kit.html").as_uri() + "?again")
    page.run("document.getElementById('name').value = 'Ben Ö'")
    page.click("#go")
    settle(page)
    assert page.run("state.done") == 3
    for _ in range(TOTAL - 3):
        press(page, 2)
    page.click("#save")
    path = tmp_path / "ratings-Ben_.json"
    page.wait_for("true")
    for _ in range(200):
        if path.exists():
            break
        page.run("new Promise((done) => setTimeout(done, 50))")
    assert json.loads(path.read_text(encoding="utf-8"))["rater"] == "Ben Ö"
    assert merge(study, folder / "ratings.jsonl", [path]) == (TOTAL, 0)
    scores = [rating.score for rating in read_log(folder / "ratings.jsonl").ratings]
    assert scores == [5, 4, 3, *[2] * (TOTAL - 3)]
    assert {address.split(":")[0] for address in page.requests} <= {"file", "data", "blob"}
    assert page.complaints == []
