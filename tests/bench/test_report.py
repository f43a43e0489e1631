"""The page as a file: what it holds, what cannot break out of it, how large it may be. (How it behaves: test_report_page.py.)"""

from __future__ import annotations

import base64
import json
import math
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vsr.bench.album import Album, Picture
from vsr.bench.report import Item, Origin, page, write_report
from vsr.errors import ConfigError, EncodeError
from vsr.media.encoded import Rgb, jpeg_bytes, png_bytes, png_pixels

EVIL = """<!-- <script ></script ><script>alert("x")</script><!-- @@data@@ & ' <img src=x onerror=alert(1)> \u2028"""


class Elements(HTMLParser):
    """Every element with its attributes; the text of scripts, styles, title and heading."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, str] = {}
        self._open = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        self._open = dict(attrs).get("id") or tag

    def handle_data(self, data: str) -> None:
        self.texts[self._open] = self.texts.get(self._open, "") + data

    def handle_endtag(self, tag: str) -> None:
        self._open = ""

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for found, attributes in self.found if found == tag]


def gray(level: int, width: int = 8, height: int = 6) -> Rgb:
    return np.full((height, width, 3), level, np.uint8)


def item(label: str, *levels: int, metrics: dict[str, list[float | None]] | None = None, measured: tuple[int, ...] = ()) -> Item:
    pictures = [Picture(number, 8, 6, png_bytes(gray(level)), number / 25) for number, level in enumerate(levels)]
    return Item(label, pictures, metrics or {}, measured)


def content(text: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(Elements(text).texts["data"])
    return found


def test_the_page_is_whole_and_asks_for_nothing() -> None:
    text = page("A title", [item("a", 10, 20), item("b", 30, 40)], Origin(["vsr compare a b"]), film=True)
    elements = Elements(text)
    assert not elements.named("link") or all(each["href"] == "data:," for each in elements.named("link"))
    assert not any("src" in attributes for _, attributes in elements.found), "pictures come from the data, by script"
    assert not re.findall(r"(?:https?:)?//[a-z]", re.sub(r"http://www\.w3\.org/2000/svg", "", text)), "no address but SVG's name"
    policy = next(each["content"] for each in elements.named("meta") if each.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    assert policy.startswith("default-src 'none'; img-src data:")
    assert "connect-src" not in policy
    ids = [attributes["id"] for _, attributes in elements.found if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert elements.texts["title"] == "A title"


def test_everything_that_can_be_operated_has_a_name() -> None:
    elements = Elements(page("t", [item("a", 1)], Origin()))
    slider = next(each for _, each in elements.found if each.get("role") == "slider")
    assert {"tabindex", "aria-label", "aria-valuemin", "aria-valuemax", "aria-valuenow"} <= slider.keys()
    assert all(each.get("aria-label") for each in elements.named("input"))
    assert elements.named("html") == [{"lang": "en"}]


def test_the_script_s_hash_is_the_one_of_the_policy() -> None:
    import hashlib

    text = page("t", [item("a", 1)], Origin())
    script = text.split("<script>")[1].split("</script>")[0]
    assert base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() in text.split("<style>")[0]


def test_names_cannot_break_out() -> None:
    nasty = Item(EVIL, [Picture(0, 8, 6, png_bytes(gray(1)), label=EVIL)], {EVIL: [1.0]}, facts={EVIL: EVIL})
    text = page(EVIL, [nasty], Origin([EVIL], [EVIL], {EVIL: EVIL}))
    elements = Elements(text)
    assert "<" not in text.split('id="data">')[1].split("</script>")[0]
    assert len(elements.named("script")) == 2
    assert not elements.named("img")
    assert elements.texts["title"] == elements.texts["h1"] == EVIL
    data = content(text)
    assert data["title"] == data["items"][0]["label"] == data["commands"][0] == EVIL
    assert data["frames"][0]["label"] == EVIL
    assert data["items"][0]["facts"] == {EVIL: EVIL}
    assert data["versions"] == {EVIL: EVIL}


def test_pictures_are_the_bytes_that_were_given() -> None:
    data = content(page("t", [item("a", 10, 20)], Origin()))
    sources = [picture["src"] for picture in data["items"][0]["pictures"]]
    assert all(source.startswith("data:image/png;base64,") for source in sources)
    assert [int(png_pixels(base64.b64decode(source.split(",")[1]))[0, 0, 0]) for source in sources] == [10, 20]
    lossy = Item("a", [Picture(0, 8, 6, jpeg_bytes(gray(9), 90))])
    assert content(page("t", [lossy], Origin()))["items"][0]["pictures"][0]["src"].startswith("data:image/jpeg;")


def test_measured_values_with_gaps_and_infinities() -> None:
    values = [30.0, None, math.inf, 20.123456789, math.nan]
    one = item("a", 1, metrics={"psnr": values, "lpips": [0.1, 0.4, 0.2, None, None]}, measured=(0, 5, 6, 7, 9))
    found = content(page("t", [one], Origin(), film=True))["items"][0]
    assert found["measured"] == [0, 5, 6, 7, 9]
    assert found["metrics"]["psnr"] == [30.0, None, "inf", 20.1235, None]
    assert found["means"]["psnr"] == {"value": pytest.approx((30 + 20.123456789) / 2, abs=1e-4), "identical": 1}
    assert found["worst"] == {"psnr": 7, "lpips": 5}, "the lowest PSNR, the highest LPIPS"


def test_no_frame_is_the_worst_where_all_are_equal_or_nobody_knows_what_is_good() -> None:
    one = item("a", 1, 2, metrics={"psnr": [math.inf, math.inf], "strangeness": [1.0, 2.0]})
    assert (one.worst("psnr"), one.worst("strangeness"), one.worst("absent")) == (None, None, None)
    assert one.mean("psnr") == (None, 2)


def test_items_that_do_not_fit_each_other(tmp_path: Path) -> None:
    target = tmp_path / "page.html"
    with pytest.raises(ValueError, match="b: 1 pictures where a has 2"):
        write_report(target, "t", [item("a", 1, 2), item("b", 1)], Origin())
    with pytest.raises(ValueError, match="at least one item"):
        write_report(target, "t", [], Origin())
    with pytest.raises(ValueError, match="3 values of psnr for 2 frames"):
        item("a", 1, 2, metrics={"psnr": [1.0, 2.0, 3.0]})
    with pytest.raises(ValueError, match="neither PNG"):
        page("t", [Item("a", [Picture(0, 1, 1, b"GIF89a")])], Origin())
    assert list(tmp_path.iterdir()) == []


def test_sizes_that_differ_are_stated() -> None:
    small = Item("small", [Picture(0, 4, 3, png_bytes(gray(5, 4, 3)))])
    assert any("nearest neighbour" in note for note in content(page("t", [item("a", 1), small], Origin()))["notes"])
    assert content(page("t", [item("a", 1), item("b", 2)], Origin()))["notes"] == []


def test_writing_is_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "page.html"
    size = write_report(target, "t", [item("a", 1)], Origin())
    assert target.stat().st_size == size
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]
    before = target.read_bytes()
    with pytest.raises(ConfigError, match=r"more than the 0\.0 MB"):
        write_report(target, "t", [item("b", 1)], Origin(), max_bytes=1000)
    assert target.read_bytes() == before
    with pytest.raises(EncodeError, match="cannot be written"):
        write_report(tmp_path / "missing" / "page.html", "t", [item("a", 1)], Origin())


def noise(seed: int) -> Rgb:
    return np.random.default_rng(seed).integers(0, 256, (64, 64, 3), dtype=np.uint8)


def test_an_album_is_lossless_as_long_as_it_fits() -> None:
    roomy = Album(100_000)
    places = [roomy.add(noise(seed)) for seed in range(3)]
    assert roomy.lossless
    assert places == [0, 1, 2]
    assert all((png_pixels(roomy[place]) == noise(place)).all() for place in places)
    # three pictures of noise take 3 x 12.3 kB as PNG, x 4/3 in the page
    tight = Album(40_000)
    places = [tight.add(noise(seed)) for seed in range(3)]
    assert not tight.lossless
    assert all(tight[place].startswith(b"\xff\xd8\xff") for place in places), "those before, too"
    assert sum(len(tight[place]) for place in places) * 4 / 3 <= 40_000
    assert "JPEG" in tight.encoding
    with pytest.raises(ConfigError, match="--frames"):
        [Album(4000).add(noise(0))]


def test_a_name_that_is_no_text_is_written_all_the_same(tmp_path: Path) -> None:
    """File names of POSIX are bytes; Python hands over what is not UTF-8 as lone surrogates."""
    target = tmp_path / "page.html"
    write_report(target, "a\udcff.png", [item("a\udcff.png", 1)], Origin(["vsr compare a\udcff.png"]))
    assert content(target.read_text(encoding="utf-8"))["items"][0]["label"] == "a\udcff.png"
