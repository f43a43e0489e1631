"""The page in a real browser: divider, zoom, keys, frames, theme; and that no request leaves it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.browser import Page, browser_page, find_browser
from vsr.bench.album import Picture
from vsr.bench.report import Item, Origin, write_report
from vsr.media.encoded import png_bytes
from vsr.media.images import read_image

pytestmark = [pytest.mark.slow, pytest.mark.skipif(find_browser() is None, reason="no chromium or google-chrome in PATH")]

FRAMES = (0, 10, 17, 40)
WIDTH, HEIGHT = 320, 200
FIRST = "first <!-- <script x"  # met as it is, it would hide the end of the data from a browser


def picture(item: int, number: int, scale: int = 1) -> Picture:
    """A red, a green or a blue picture with a grid, as bright as its frame is late."""
    rgb = np.zeros((HEIGHT // scale, WIDTH // scale, 3), np.uint8)
    rgb[..., item] = 120 + 3 * number
    rgb[::8, ::8] = 255
    return Picture(number, WIDTH // scale, HEIGHT // scale, png_bytes(rgb), number / 25)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A film of 50 frames, three results, four frames shown; the third is half as large."""
    curve: list[float | None] = [30 + (n % 7) / 10 - 5 * (n == 17) for n in range(50)]
    items = [
        Item(FIRST, [picture(0, n) for n in FRAMES]),
        Item("second", [picture(1, n) for n in FRAMES], {"psnr": curve}, range(50), {"Size": "320x200"}),
        Item("third", [picture(2, n, scale=2) for n in FRAMES]),
    ]
    path = tmp_path_factory.mktemp("page") / "report with space & more.html"
    write_report(path, "Three results", items, Origin(["vsr compare a b c"], ["a note"]), film=True)
    return path


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with browser_page(tmp_path_factory.mktemp("profile")) as page:
        yield page


@pytest.fixture
def page(tab: Page, report: Path) -> Page:
    """The page, newly opened in light."""
    tab.screen(1000, 800)
    tab.prefer("light")
    tab.open(report.as_uri())
    tab.wait_for("document.querySelector('#right img') !== null")
    return tab


def layers(page: Page) -> list[dict[str, str]]:
    """What each side shows, how it is clipped and placed."""
    script = """[...document.querySelectorAll('.layer')].map(layer => {
        const image = layer.querySelector('img');
        return { item: image.dataset.item, frame: image.dataset.frame, clip: layer.style.clipPath, at: image.style.transform,
                 width: image.style.width, pixelated: getComputedStyle(image).imageRendering, natural: image.naturalWidth };
    })"""
    found: list[dict[str, str]] = page.run(script)
    return found


def shows(page: Page, left: int, right: int, frame: int = 0) -> None:
    """Waits until both sides show these items."""
    shown = "[...document.querySelectorAll('.layer img')].map(i => `${i.dataset.item}/${i.dataset.frame}`).join()"
    page.wait_for(f"{shown} === '{left}/{frame},{right}/{frame}'")


def zoom(page: Page) -> float:
    return float(page.run("parseFloat(document.querySelector('#zoom').textContent)"))


def split(page: Page) -> float:
    return float(page.run("Number(document.querySelector('#divider').getAttribute('aria-valuenow'))"))


def color_at(page: Page, x: float, y: float, folder: Path) -> tuple[int, ...]:
    """Red, green and blue of the screen there."""
    page.screenshot(folder / "screen.png")
    return tuple(int(plane[0, int(y), int(x)]) for plane in read_image(folder / "screen.png").batch.planes[:3])


def test_it_opens_without_a_request_or_a_complaint(page: Page, report: Path) -> None:
    shows(page, 0, 1)
    page.key("]")
    page.key("3", code="Digit3")
    shows(page, 0, 2, 1)
    assert {url.split(":")[0] for url in page.requests} == {"file", "data"}
    assert [url for url in page.requests if url.startswith("file:")] == [report.as_uri()]
    assert page.complaints == []
    assert page.run("document.querySelector('h1').textContent") == "Three results"


def test_the_page_s_own_policy_stops_requests(page: Page) -> None:
    """The watch that `requests` keeps can see something, and the policy keeps it from happening."""
    page.run("new Promise(done => { const i = new Image(); i.onerror = i.onload = done; i.src = 'https://vsr.invalid/x.png'; })")
    assert any("Content Security Policy" in text for text in page.complaints)
    assert not any(event.get("method") == "Network.responseReceived" and "invalid" in str(event) for event in page.events)


def test_the_divider_moves_the_clip_by_drag_and_by_keys(page: Page, tmp_path: Path) -> None:
    assert [each["clip"] for each in layers(page)] == ["inset(0px 50% 0px 0px)", "inset(0px 0px 0px 50%)"]
    box = page.run("(b => [b.x, b.y, b.width, b.height])(document.querySelector('#stage').getBoundingClientRect())")
    y = box[1] + box[3] / 2
    left, right = box[0] + box[2] * 0.4, box[0] + box[2] * 0.6
    assert color_at(page, left, y + 5, tmp_path)[0] > 100
    assert color_at(page, right, y + 5, tmp_path)[1] > 100
    page.drag(page.middle("#divider"), (box[0] + box[2] * 0.25, y))
    assert split(page) == 25
    assert [each["clip"] for each in layers(page)] == ["inset(0px 75% 0px 0px)", "inset(0px 0px 0px 25%)"]
    assert color_at(page, left, y + 5, tmp_path)[1] > 100, "the right item's green is there now"
    page.key("ArrowRight")
    assert split(page) == 26
    page.key("ArrowLeft", shift=True)
    assert split(page) == 16
    page.key("End")
    assert split(page) == 100
    page.key("ArrowRight")
    assert split(page) == 100
    page.key("Home")
    assert split(page) == 0


def test_both_layers_zoom_and_pan_as_one(page: Page) -> None:
    page.key("3", code="Digit3")
    shows(page, 0, 2)
    fitted = zoom(page)
    places = set()
    steps: list[Callable[[], None]] = [
        lambda: page.key("+"),
        lambda: page.mouse("mouseWheel", 300, 300, deltaX=0, deltaY=-200),
        lambda: page.drag((300, 300), (360, 330)),
        lambda: page.key("w"),
        lambda: page.click("#zoom-in"),
    ]
    for step in steps:
        step()
        left, right = layers(page)
        assert left["at"] == right["at"]
        assert left["width"] == right["width"] == f"{WIDTH}px", "the half-size picture takes the same room"
        places.add(left["at"])
    assert len(places) == len(steps), "each did something"
    assert zoom(page) > fitted
    assert {each["pixelated"] for each in layers(page)} == {"pixelated"}
    page.key("0")
    assert zoom(page) == fitted
    page.click("#zoom-one")
    assert zoom(page) == 100
    assert [each["pixelated"] for each in layers(page)] == ["auto", "pixelated"], "one to one; the half-size one is at two"


def test_the_wheel_keeps_what_is_under_the_pointer(page: Page) -> None:
    page.click("#zoom-one")
    under = """(x, y) => { const box = document.querySelector('#right img').getBoundingClientRect();
                           return [(x - box.x) / box.width, (y - box.y) / box.height]; }"""
    before = page.run(f"({under})(560, 330)")
    page.mouse("mouseWheel", 560, 330, deltaX=0, deltaY=-300)
    assert zoom(page) > 150
    assert page.run(f"({under})(560, 330)") == pytest.approx(before, abs=0.005)


def test_a_double_click_zooms_and_comes_back(page: Page) -> None:
    fitted = zoom(page)
    for expected in (False, True):
        for count in (1, 2):
            page.mouse("mousePressed", 300, 300, clickCount=count)
            page.mouse("mouseReleased", 300, 300, clickCount=count)
        assert (zoom(page) == fitted) is expected


def test_items_are_chosen_by_digits_lists_and_buttons(page: Page) -> None:
    page.key("3", code="Digit3")
    shows(page, 0, 2)
    page.key("@", code="Digit2", shift=True)
    shows(page, 1, 2)
    page.key("x")
    shows(page, 2, 1)
    page.key("9", code="Digit9")
    shows(page, 2, 1)
    page.run("(s => { s.value = '0'; s.dispatchEvent(new Event('change')); })(document.querySelector('#pick-right'))")
    shows(page, 2, 0)
    page.click("tbody tr:nth-child(2) .sides button:nth-child(1)")
    shows(page, 1, 0)
    assert page.run("document.querySelector('#name-left').textContent") == "second"
    assert page.run("document.querySelector('#name-right').textContent") == FIRST
    pressed = "[...document.querySelectorAll('.sides button')].map(b => b.getAttribute('aria-pressed')).join()"
    assert page.run(pressed) == "false,true,true,false,false,false"


def test_frames_by_keys_scrubber_worst_link_and_plot(page: Page) -> None:
    page.key("]")
    shows(page, 0, 1, 1)
    assert page.run("document.querySelector('#where').textContent") == "frame 10 \u00b7 0.400 s (2 of 4 shown here)"
    page.key("[")
    page.key("[")
    shows(page, 0, 1, 0)
    page.run("document.querySelector('#frame').focus()")
    page.key("ArrowRight")
    shows(page, 0, 1, 1)
    assert split(page) == 50, "the scrubber's arrows are its own"
    page.click("button.link")
    shows(page, 0, 1, 2)
    assert "25.30 dB, frame 17" in page.run("document.querySelector('button.link').textContent")
    page.run("document.querySelector('.plot svg').scrollIntoView()")
    box = page.run("(b => [b.x, b.y, b.width, b.height])(document.querySelector('.plot svg').getBoundingClientRect())")
    page.mouse("mousePressed", box[0] + box[2] * 0.85, box[1] + 60)
    page.mouse("mouseReleased", box[0] + box[2] * 0.85, box[1] + 60)
    shows(page, 0, 1, 3)
    cursor = page.run("Number(document.querySelector('.cursor').getAttribute('x1'))")
    curve = page.run("document.querySelector('.curve').getAttribute('points')").split()
    assert len(curve) == 50
    assert cursor == pytest.approx(float(curve[40].split(",")[0]), abs=0.1)
    lowest = max(curve, key=lambda point: float(point.split(",")[1]))
    assert curve.index(lowest) == 17
    assert "second 30.50 dB" in page.run("document.querySelector('.readout').textContent")


def test_light_and_dark_by_the_system_and_by_the_button(page: Page) -> None:
    background = "getComputedStyle(document.body).backgroundColor"
    light = page.run(background)
    page.click("#theme")
    dark = page.run(background)
    assert dark != light
    assert page.run("document.querySelector('#theme').getAttribute('aria-pressed')") == "true"
    page.click("#theme")
    assert page.run(background) == light
    page.open(page.run("location.href"))
    page.prefer("dark")
    assert page.run(background) == dark
    page.click("#theme")
    assert page.run(background) == light, "the button has the last word"


def test_everything_is_reached_by_tab(page: Page) -> None:
    reached = []
    for _ in range(40):
        page.key("Tab")
        reached.append(
            page.run("document.activeElement.id || document.activeElement.className || document.activeElement.tagName")
        )
    wanted = {
        "theme",
        "pick-left",
        "swap",
        "pick-right",
        "zoom-out",
        "zoom-in",
        "zoom-one",
        "zoom-fit",
        "divider",
        "frame",
        "link",
    }
    assert wanted <= set(reached)
    page.run("document.querySelector('#pick-left').focus()")
    page.key("3", code="Digit3")
    assert layers(page)[1]["item"] == "1", "a list that has the focus keeps its keys"


def test_a_phone_shows_all_of_it(page: Page) -> None:
    page.screen(360, 740, ratio=2, phone=True)
    page.wait_for("innerWidth === 360")
    assert page.run("document.documentElement.scrollWidth") <= 360
    sizes = page.run("[...document.querySelectorAll('.bar button')].map(b => b.getBoundingClientRect().height)")
    assert all(size >= 40 for size in sizes if size)
    box = page.run("(b => [b.x, b.y, b.width, b.height])(document.querySelector('#stage').getBoundingClientRect())")
    assert box[0] >= 0
    assert box[0] + box[2] <= 360
    finger = [{"x": page.middle("#divider")[0], "y": box[1] + box[3] / 2}]
    page.call("Input.dispatchTouchEvent", type="touchStart", touchPoints=finger)
    for x in (200, 260, 300):
        page.call("Input.dispatchTouchEvent", type="touchMove", touchPoints=[{**finger[0], "x": x}])
    page.call("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])
    assert split(page) == pytest.approx(100 * 300 / 360, abs=1)


def test_two_fingers_zoom(page: Page) -> None:
    page.screen(360, 740, ratio=2, phone=True)
    page.wait_for("innerWidth === 360")
    fitted = zoom(page)
    x, y = page.middle("#stage")
    for kind, apart in (("touchStart", 20), ("touchMove", 40), ("touchMove", 60), ("touchEnd", 0)):
        points = [{"x": x - apart, "y": y, "id": 0}, {"x": x + apart, "y": y, "id": 1}] if apart else []
        page.call("Input.dispatchTouchEvent", type=kind, touchPoints=points)
    assert zoom(page) > 1.5 * fitted
    left, right = layers(page)
    assert left["at"] == right["at"]
