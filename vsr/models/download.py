"""One file from an https address: whole, of a known checksum, and of no more than a stated size, or not at all."""

from __future__ import annotations

import hashlib
import http.client
import os
import secrets
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

from vsr.errors import WeightsError
from vsr.models.sources import WebWeights

LARGEST = 2_000_000_000  # bytes: no published network of this kind comes near
CHUNK = 1 << 20
TIMEOUT_SECONDS = 30
# Handlers are named one by one: the default set also opens http, ftp and file addresses, which a redirection could name.
HANDLERS = (
    urllib.request.ProxyHandler,
    urllib.request.UnknownHandler,
    urllib.request.HTTPSHandler,
    urllib.request.HTTPDefaultErrorHandler,
    urllib.request.HTTPRedirectHandler,
    urllib.request.HTTPErrorProcessor,
)


def download(source: WebWeights, folder: Path, largest: int = LARGEST) -> Path:
    """Fetch a checkpoint into `folder` (made if need be) and give its path, under the name that it has in its address.

    Raises WeightsError, leaving nothing behind: no connection, no such file, too large, cut off, not writable, another checksum.
    """
    target = folder / (Path(urlsplit(source.address).path).name or "weights")
    part = folder / f".{target.name}.{os.getpid()}-{secrets.token_hex(4)}"
    try:
        sha256 = _fetch(source.address, part, largest)
        if not sha256.startswith(source.sha256):
            raise WeightsError(
                f"{source.address}: checksum {sha256[:12]}, expected {source.sha256[:12]}; "
                "the file was changed or damaged on its way, and is not used"
            )
        part.replace(target)
    except OSError as exc:
        raise WeightsError(f"{folder}: cannot be written ({exc.strerror}); make room there, or set VSR_CACHE") from exc
    finally:
        part.unlink(missing_ok=True)
    return target


def _fetch(address: str, part: Path, largest: int) -> str:
    """Writes the answer to `part` and gives its SHA-256. Raises OSError for the disk alone."""
    sha, size = hashlib.sha256(), 0
    with _open(address) as answer:
        expected = int(answer.headers.get("Content-Length") or 0)
        part.parent.mkdir(parents=True, exist_ok=True)
        with part.open("xb") as file:
            while chunk := _read(address, answer):
                size += len(chunk)
                if max(size, expected) > largest:
                    raise WeightsError(f"{address}: more than {largest:,} bytes, which no such weights have; it is another file")
                sha.update(chunk)
                file.write(chunk)
            file.flush()
            os.fsync(file.fileno())
    if expected and size != expected:
        raise WeightsError(f"{address}: ended after {size:,} of {expected:,} bytes; try again")
    return sha.hexdigest()


def _open(address: str) -> http.client.HTTPResponse:
    opener = urllib.request.OpenerDirector()
    for handler in HANDLERS:
        opener.add_handler(handler())
    request = urllib.request.Request(address, headers={"User-Agent": "vsr"})
    try:
        answer: http.client.HTTPResponse | None = opener.open(request, timeout=TIMEOUT_SECONDS)
    except urllib.error.HTTPError as exc:
        with exc:
            raise WeightsError(f"{address}: the server says {exc.code} {exc.reason}; {_BY_HAND}") from exc
    except (OSError, http.client.HTTPException, ValueError) as exc:
        reason = getattr(exc, "reason", None) or exc
        raise WeightsError(f"{address}: cannot be reached ({reason}); check the connection, or {_BY_HAND}") from exc
    if answer is None:  # no handler took it
        raise WeightsError(f"{address}: not an https address; {_BY_HAND}")
    return answer


_BY_HAND = "get the file in another way and name it: --model FILE"


def _read(address: str, answer: http.client.HTTPResponse) -> bytes:
    try:
        return answer.read(CHUNK)
    except (OSError, http.client.HTTPException) as exc:
        raise WeightsError(f"{address}: the connection broke ({exc}); try again") from exc
