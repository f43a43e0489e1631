"""An opaque GIF is no film with alpha; one that lets anything through is."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from vsr import UpscaleConfig, probe, upscale
from vsr.media.gif import is_opaque_gif
from vsr.media.verify import verify_files

SIZE = (32, 24)


def animation(folder: Path, *, ground: tuple[int, int, int, int], disposal: int) -> Path:
    frames = []
    for number in range(5):
        frame = Image.new("RGBA", SIZE, ground)
        frame.paste((220, 40 * number, 60, 255), (4 + number, 4, 20 + number, 20))
        frames.append(frame)
    path = folder / "moving.gif"
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=100, disposal=disposal)
    return path


def seen_alpha(path: Path) -> int:
    """The least alpha that FFmpeg shows in any frame."""
    with av.open(str(path)) as container:
        return min(int(np.asarray(f.to_ndarray(format="rgba"))[..., 3].min()) for f in container.decode(video=0))


@pytest.mark.parametrize("disposal", [0, 1, 3])
def test_an_opaque_gif_has_no_alpha(disposal: int, tmp_path: Path) -> None:
    source = animation(tmp_path, ground=(30, 90, 160, 255), disposal=disposal)
    assert seen_alpha(source) == 255
    layout = probe(str(source)).format.layout
    assert layout.kind == "rgb" and not layout.alpha
    report = upscale(UpscaleConfig(str(source), str(tmp_path / "out.mkv"), scale=2, model="bicubic"))
    assert report.plan is not None and report.plan.encoding.codec == "h264"
    assert all(check.ok for check in verify_files(str(source), str(tmp_path / "out.mkv")))


@pytest.mark.parametrize(("alpha", "disposal"), [(0, 0), (0, 1), (0, 2), (255, 2)])
def test_what_may_let_the_ground_through_keeps_its_alpha(alpha: int, disposal: int, tmp_path: Path) -> None:
    source = animation(tmp_path, ground=(30, 90, 160, alpha), disposal=disposal)
    if alpha == 0:
        assert seen_alpha(source) == 0
    assert probe(str(source)).format.layout.alpha


def test_a_first_picture_that_does_not_cover_the_screen(tmp_path: Path) -> None:
    path = animation(tmp_path, ground=(30, 90, 160, 255), disposal=1)
    data = bytearray(path.read_bytes())
    data[6:10] = (SIZE[0] + 8).to_bytes(2, "little") + SIZE[1].to_bytes(2, "little")
    path.write_bytes(data)
    assert not is_opaque_gif(str(path))
    path.write_bytes(path.read_bytes()[:60])
    assert not is_opaque_gif(str(path)), "cut short"
    assert not is_opaque_gif(str(tmp_path / "none.gif"))


@given(st.binary(max_size=200))
@settings(max_examples=100, deadline=None)
def test_no_bytes_are_too_odd(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "odd.gif"
    path.write_bytes(b"GIF89a" + data)
    assert is_opaque_gif(str(path)) in (True, False)
