"""Films in Google's storage: against a server that speaks its protocol."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.jobs.servers import serving
from tests.jobs.test_batch import SETTINGS, archive, done
from tests.jobs.test_remote import RESULTS, convert, names, sent
from vsr.jobs.batch import look
from vsr.jobs.definition import load_definition
from vsr.jobs.remote import Store

# gcsfs is not imported here: it reads its environment then
LACKING = [name for name in ("gcsfs", "gcp_storage_emulator") if find_spec(name) is None]
pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(LACKING), reason=f"pip install {' '.join(LACKING)}")]
__all__ = ["archive"]  # a fixture


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    def words(port: int) -> list[str]:
        command = [sys.executable, "-m", "gcp_storage_emulator.__main__", "start", "--host=127.0.0.1", f"--port={port}"]
        return [*command, "--in-memory", "--default-bucket=vault"]

    with serving(words, tmp_path / "log") as port:
        yield f"http://127.0.0.1:{port}"


def test_there_and_back(archive: Path, server: str, tmp_path: Path) -> None:
    store = Store({"gs": {"endpoint_url": server, "token": "anon"}})
    said = [f"remote.gs.endpoint_url={server}", "remote.gs.token=anon", f"stage={tmp_path / 'stage'}"]
    job = load_definition("hd_to_uhd", [*SETTINGS, *said], [sent(archive, store, "gs://vault")], "gs://vault/out")
    films = convert(job)
    assert done(films) == {"long.mp4": "done", "short.mkv": "done"}, [film.why for film in films]
    assert names(store, "gs://vault/out") == RESULTS and not list((tmp_path / "stage").iterdir())
    assert [film.status for film in look(job, "cpu")] == ["kept", "kept"]
