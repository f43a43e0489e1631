"""The pictures of an opinion study: one folder for each method, images of equal names, the originals in HR."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vsr.errors import ConfigError
from vsr.frames import FrameBatch
from vsr.media.imagemeta import StillImage, batch_of, icc_fits
from vsr.media.images import read_image
from vsr.media.pngwrite import write_png
from vsr.media.sequences import list_images

ORIGINALS = ("hr", "gt")
SMALL = "lr"
SHRUNK = 4  # where there is no LR, HR by this
CALIBRATIONS = 5  # images shown as 1 and as 5 before the first question
LAYOUT = "a study has a folder for each method and one for the originals, HR or GT, with images of equal names"


@dataclass(frozen=True)
class Study:
    """What there is to rate.

    folder    where it lies
    original  the name of the originals' folder: a method like the others, hidden among them
    images    names without ending, in natural order
    paths     the file of each (image, method)
    digests   of these files
    small     the LR files by image, where there are any
    """

    folder: Path
    original: str
    images: tuple[str, ...]
    paths: dict[tuple[str, str], Path]
    digests: dict[tuple[str, str], str]
    small: dict[str, Path]

    @property
    def methods(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(method for _, method in self.paths))

    @property
    def pictures(self) -> tuple[tuple[str, str], ...]:
        return tuple(self.paths)

    @property
    def calibration(self) -> tuple[str, ...]:
        """Images that are shown at their worst and best: evenly spread over all."""
        count = min(CALIBRATIONS, len(self.images))
        return tuple(self.images[i * len(self.images) // count] for i in range(count))

    @property
    def worst(self) -> str:
        """How the examples of score 1 are made."""
        source = "the LR picture" if self.small else f"the original, made smaller by {SHRUNK} (bicubic),"
        return f"{source} enlarged by repeating pixels (nearest neighbour)"


def open_study(folder: Path, *, look: bool = True) -> Study:
    """Finds all pictures; `look` also decodes each, so that none fails in front of a rater.

    Raises ConfigError, naming all that is missing or does not fit; DecodeError for a picture that cannot be read.
    """
    found = {path.name: path for path in _folders(folder)}
    originals = [name for name in found if name.lower() in ORIGINALS]
    small = next((path for name, path in found.items() if name.lower() == SMALL), None)
    methods = [name for name in found if name not in originals and found[name] != small]
    if len(originals) != 1:
        what = "both HR and GT" if originals else "no folder HR or GT"
        raise ConfigError(f"{folder}: holds {what}; {LAYOUT}")
    if not methods:
        raise ConfigError(f"{folder}: holds no method's folder beside {originals[0]}; {LAYOUT}")
    names = {method: _by_name(found[method]) for method in (*sorted(methods), originals[0])}
    images = tuple(names[originals[0]])
    _check_names(folder, originals[0], names)
    paths = {(image, method): names[method][image] for method in names for image in images}
    smaller = _by_name(small) if small else {}
    if missing := [image for image in images if small and image not in smaller]:
        raise ConfigError(f"{small}: lacks {_some(missing)}; add it, or take the folder away")
    digests = {key: _digest(path.read_bytes()) for key, path in paths.items()}
    study = Study(folder, originals[0], images, paths, digests, {image: smaller[image] for image in images if smaller})
    if look:
        _check_sizes(study)
    return study


def _folders(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    except OSError as exc:
        raise ConfigError(f"{folder}: cannot be read as a folder ({exc.strerror}); {LAYOUT}") from exc


def _by_name(folder: Path) -> dict[str, Path]:
    """The images of a folder by their names without ending."""
    images: dict[str, Path] = {}
    for path in list_images(folder)[0]:
        if not f"{folder.name}/{path.name}".isprintable():  # bytes that are no text, line breaks: the log could not hold them
            raise ConfigError(f"{str(path)!r}: the name cannot be printed; choose another for it")
        if path.stem in images:
            raise ConfigError(f"{folder}: holds {images[path.stem].name} and {path.name}; keep one of them")
        images[path.stem] = path
    return images


def _check_names(folder: Path, original: str, names: dict[str, dict[str, Path]]) -> None:
    wanted, problems = set(names[original]), []
    for method, images in names.items():
        if missing := sorted(wanted - set(images)):
            problems.append(f"{method} lacks {_some(missing)}")
        if unknown := sorted(set(images) - wanted):
            problems.append(f"{method} has {_some(unknown)}, which {original} has not")
    if problems:
        raise ConfigError(f"{folder}: {'; '.join(problems)}; every folder needs the same images, one for one")


def _check_sizes(study: Study) -> None:
    sizes = {key: read_image(path).batch.format for key, path in study.paths.items()}
    for (image, method), found in sizes.items():
        wanted = sizes[image, study.original]
        if (found.width, found.height) != (wanted.width, wanted.height):
            raise ConfigError(
                f"{study.paths[image, method]}: is {found.width}x{found.height}, the original {wanted.width}x{wanted.height}; "
                "only pictures of one size can be rated blindly"
            )


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]


def whole_picture(study: Study, image: str, method: str) -> bytes:
    """What a rater sees of a method, as PNG without metadata but for the colour profile: nothing in it tells how it was made.

    Raises ConfigError where the file is no longer the one that the study was opened with.
    """
    path = study.paths[image, method]
    whole = read_image(path)
    if _digest(path.read_bytes()) != study.digests[image, method]:
        raise ConfigError(f"{path}: has changed since the study was opened; start again")
    return _png(whole.batch, whole)


def worst_picture(study: Study, image: str) -> bytes:
    """The example of score 1, as PNG: LR, or the original made smaller as in the papers, enlarged by nearest neighbour."""
    original = read_image(study.paths[image, study.original])
    height, width = original.batch.format.height, original.batch.format.width
    alpha = original.batch.format.layout.alpha
    if image in study.small:
        little = read_image(study.small[image]).batch
        planes, alpha = [plane[0] for plane in little.planes], little.format.layout.alpha
    else:
        planes = _smaller(original.batch)
    rows = np.arange(height) * planes[0].shape[0] // height
    columns = np.arange(width) * planes[0].shape[1] // width
    samples = np.stack([plane[rows][:, columns] for plane in planes], axis=2)
    return _png(batch_of(samples, alpha), original)


def _smaller(batch: FrameBatch) -> list[np.ndarray[tuple[int, ...], np.dtype[np.uint8 | np.uint16]]]:
    """The planes by 1 / SHRUNK, (H, W) each."""
    import torch

    from vsr.resample import imresize

    peak = 2**batch.format.layout.bits - 1
    planes = (torch.from_numpy(plane.astype(np.float64))[None] for plane in batch.planes)
    small = (imresize(plane, 1, SHRUNK).round().clamp(0, peak) for plane in planes)
    return [plane[0, 0].numpy().astype(batch.planes[0].dtype) for plane in small]


def _png(batch: FrameBatch, image: StillImage) -> bytes:
    file = io.BytesIO()
    icc = image.icc if image.icc and icc_fits(image.icc, batch.format.layout.kind) else None
    write_png(file, StillImage(batch, "PNG", icc=icc))
    return file.getvalue()


def opaque_id(secret: str, *parts: str) -> str:
    """A name for a picture that tells nothing of it: the same for the same secret and parts, 32 characters."""
    return hashlib.sha256("\0".join((secret, *parts)).encode()).hexdigest()[:32]
