"""Finding test sets: a folder, the name of one in $VSR_DATA, or a film. Nothing is downloaded; what is missing is named.

Known ways to lay a set out, for a scale of 4, upper and lower case alike:

    SET/x4/HR + SET/x4/LR      SET/HR[/x4] + SET/LR[/x4]      SET/CLIP/HR + SET/CLIP/LR      SET/GT/CLIP + SET/BIx4/CLIP
    SET/*.png (HR alone)       image_SRF_4/img_001_SRF_4_HR.png         DIV2K_valid_HR + DIV2K_valid_LR_bicubic/X4/0801x4.png
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from vsr.bench.films import film_dataset
from vsr.bench.pairs import Dataset, Group, Images
from vsr.errors import ConfigError
from vsr.media.images import is_image
from vsr.media.imagesize import image_size
from vsr.media.sequences import list_images

DATA = "VSR_DATA"
_HR = ("hr", "gt", "gtmod12", "original", "{name}_hr", "{name}_valid_hr", "div2k_valid_hr", "sharp")
_LR = ("lr", "lr_bicubic", "lrbicx{scale}", "bix{scale}", "bi", "bicubic", "sharp_bicubic")
_BY_NAME = ("{name}_lr_bicubic", "{name}_valid_lr_bicubic", "div2k_valid_lr_bicubic")
_MARK = r"(_SRF_\d+)?_{kind}$|x{scale}$"  # what some sets add to the names of files
_AT_A_SCALE = r"x\d+|image_srf_\d+"
_LOSSY = (".jpg", ".jpeg", ".webp")


def find_dataset(text: str, scale: int, degrade: str = "bicubic", frames: int | None = None) -> Dataset:
    """The set that `text` names: a folder, a film, or a name in $VSR_DATA.

    degrade  how LR is made of a film: bicubic, or h264:CRF for bicubic and that codec        frames  of each clip at most
    Raises ConfigError where nothing is found, with what was tried; DecodeError for what cannot be read.
    """
    path = Path(text)
    if path.is_file():
        return film_dataset(path, scale, degrade, frames)
    if degrade != "bicubic":
        raise ConfigError(f"--degrade {degrade}: is for films; the LR of a folder is what is in it, or bicubic")
    home = path if path.is_dir() else _named(text)
    groups, stored = _groups(home, scale)
    if frames is not None:
        groups = tuple(_shortened(group, frames) for group in groups)
    origin = "LR as stored" if stored else f"LR: HR shrunk by {scale} as MATLAB's imresize does (bicubic, 8 bits)"
    return Dataset(home.name or text, scale, groups, origin, stored, tuple(_notes(groups)))


def _named(name: str) -> Path:
    root = os.environ.get(DATA)
    if not root:
        raise ConfigError(f"--dataset {name}: no such folder or film; sets are found by name in the folder that {DATA} names")
    found = _child(Path(root), (name,)) if Path(root).is_dir() else None
    if found is None:
        there = ", ".join(sorted(entry.name for entry in _folders(Path(root)))) or "nothing"
        raise ConfigError(f"--dataset {name}: there is no {Path(root) / name}; {root} holds {there}. Sets are not downloaded")
    return found


def _groups(home: Path, scale: int) -> tuple[tuple[Group, ...], bool]:
    """The groups of a set, and whether their LR is stored. Looks into the folder of the scale first."""
    tried: list[str] = []
    at_scale = _child(home, (f"x{scale}", f"image_srf_{scale}"))
    for base in (at_scale, home):
        if base is None:
            continue
        hr, lr = _halves(base, home.name, scale)
        if hr is not None:
            return _from_halves(home, hr, lr, scale)
        tried.append(f"{base}/HR")
        if _has_images(base):
            return _from_one(home, base, scale)
        tried.append(f"images in {base}")
        clips = [(c, *_halves(c, c.name, scale)) for c in _folders(base) if not re.fullmatch(_AT_A_SCALE, c.name.lower())]
        found = [(clip, hr, lr) for clip, hr, lr in clips if hr is not None]
        if found:
            stored = [lr is not None for _, _, lr in found]
            if any(stored) != all(stored):
                lacking = next(clip for clip, _, lr in found if lr is None)
                raise ConfigError(f"{lacking}/LR: is missing where other clips have one; put it there, or take theirs away")
            return tuple(_group(clip.name, hr, lr, scale) for clip, hr, lr in found), all(stored)
        tried.append(f"{base}/*/HR")
    others = [entry.name for entry in _folders(home) if re.fullmatch(_AT_A_SCALE, entry.name.lower())]
    hint = f"; there is {', '.join(sorted(others))}: choose with --scale" if others else ""
    raise ConfigError(f"--dataset {home}: no pictures for scale {scale} were found; looked for {', '.join(tried)}{hint}")


def _halves(base: Path, name: str, scale: int) -> tuple[Path | None, Path | None]:
    """The folders of HR and LR in `base`, down to the scale's own folders where there are such."""
    halves = []
    for names in (_HR, (*_LR, *_BY_NAME)):
        found = _child(base, [text.format(name=name.lower(), scale=scale) for text in names])
        halves.append((_child(found, (f"x{scale}",)) or found) if found is not None else None)
    return halves[0], halves[1]


def _from_halves(home: Path, hr: Path, lr: Path | None, scale: int) -> tuple[tuple[Group, ...], bool]:
    if _has_images(hr):
        return (_group(home.name, hr, lr, scale),), lr is not None
    clips = [clip for clip in _folders(hr) if _has_images(clip)]
    if not clips:
        raise ConfigError(f"{hr}: holds neither pictures nor folders of them; put the set's HR there")
    groups = []
    for clip in clips:
        partner = _child(lr, (clip.name,)) if lr is not None else None
        if lr is not None and partner is None:
            raise ConfigError(f"{lr / clip.name}: is missing; there is {clip}")
        groups.append(_group(clip.name, clip, partner, scale))
    return tuple(groups), lr is not None


def _from_one(home: Path, folder: Path, scale: int) -> tuple[tuple[Group, ...], bool]:
    """A folder of pictures: HR alone, or both with names that end in _HR and _LR."""
    paths, _ = list_images(folder)
    hr = [path for path in paths if path.stem.lower().endswith("_hr")]
    lr = [path for path in paths if path.stem.lower().endswith("_lr")]
    if hr and lr:
        return (_paired(home.name, hr, lr, scale),), True
    return (_paired(home.name, paths, None, scale),), False


def _group(name: str, hr: Path, lr: Path | None, scale: int) -> Group:
    return _paired(name, list_images(hr)[0], list_images(lr)[0] if lr is not None else None, scale)


def _paired(name: str, hr: Sequence[Path], lr: Sequence[Path] | None, scale: int) -> Group:
    """Files of equal names as pairs. Raises ConfigError for names that have no partner."""
    truths = {_key(path, "HR", scale): path for path in hr}
    if lr is None:
        files: list[tuple[str, Path, Path | None]] = [(path.stem, path, None) for path in hr]
        return Images(name, tuple(files), scale, _is_clip(hr))
    inputs = {_key(path, "LR", scale): path for path in lr}
    if alone := sorted(truths.keys() ^ inputs.keys()):
        lacking = "LR" if alone[0] in truths else "HR"
        raise ConfigError(f"{name}: {alone[0]} has no {lacking} ({len(alone)} names differ); HR and LR have files of equal names")
    return Images(name, tuple((key, truths[key], inputs[key]) for key in truths), scale, _is_clip(hr))


def _key(path: Path, kind: str, scale: int) -> str:
    return re.sub(_MARK.format(kind=kind, scale=scale), "", path.stem, flags=re.IGNORECASE)


def _is_clip(paths: Sequence[Path]) -> bool:
    """Frames of a film: their names are consecutive numbers and nothing else, and all have one size."""
    if len(paths) < 2 or not all(path.stem.isascii() and path.stem.isdigit() for path in paths):
        return False
    numbers = [int(path.stem) for path in paths]
    if numbers != list(range(numbers[0], numbers[0] + len(numbers))):
        return False
    size = image_size(paths[0])
    return all(image_size(path) == size for path in paths[1:])


def _shortened(group: Group, frames: int) -> Group:
    assert isinstance(group, Images)
    return Images(group.name, group.files[:frames], group.scale, group.clip) if group.clip else group


def _notes(groups: Sequence[Group]) -> Iterator[str]:
    files = [file for group in groups if isinstance(group, Images) for file in group.files]
    if lossy := [hr.name for _, hr, _ in files if hr.suffix.lower() in _LOSSY]:
        yield f"HR is stored with loss in {len(lossy)} of {len(files)} files ({lossy[0]}): models are measured against its damage"


def _has_images(folder: Path) -> bool:
    return any(path.is_file() and is_image(path.name) and not path.name.startswith(".") for path in folder.iterdir())


def _folders(home: Path) -> list[Path]:
    return sorted(path for path in home.iterdir() if path.is_dir() and not path.name.startswith(".")) if home.is_dir() else []


def _child(home: Path, names: Sequence[str]) -> Path | None:
    """The first folder in `home` with one of these names, in upper or lower case."""
    there = {path.name.lower(): path for path in _folders(home)}
    return next((there[name.lower()] for name in names if name.lower() in there), None)
