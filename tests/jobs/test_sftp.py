"""Films on a machine that is reached by SSH: against a real SSH server of this machine."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.jobs.test_batch import SETTINGS, archive, done, equal, undisturbed
from tests.jobs.test_remote import ROOT, convert
from vsr.jobs.batch import look
from vsr.jobs.definition import Definition, load_definition

asyncssh = pytest.importorskip("asyncssh")
pytest.importorskip("paramiko")

pytestmark = pytest.mark.slow  # a server is started
__all__ = ["archive"]  # a fixture


@dataclass(frozen=True)
class Host:
    """A machine that is reached by SSH: what of it is shown (`root`), its port, and the key that it takes."""

    root: Path
    port: int
    key: Path

    def url(self, *names: str) -> str:
        return "/".join(["sftp://films@127.0.0.1", *names])

    def job(self, source: str, output: str, stage: Path) -> Definition:
        said = [f"remote.sftp.port={self.port}", f"remote.sftp.key_filename={self.key}"]
        return load_definition("hd_to_uhd", [*SETTINGS, *said, f"stage={stage}"], [source], output)


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    root, key = tmp_path / "host", tmp_path / "key"
    root.mkdir()
    ours = asyncssh.generate_private_key("ssh-ed25519")
    ours.write_private_key(key)
    words = [sys.executable, "-m", "tests.jobs.sftp_server", str(root), ours.export_public_key().decode()]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, cwd=ROOT) as server:
        assert server.stdout is not None
        yield Host(root, int(server.stdout.readline()), key)
        server.kill()


def test_there_and_back(archive: Path, host: Host, tmp_path: Path) -> None:
    archive.rename(host.root / "in")
    job = host.job(host.url("in"), host.url("out"), tmp_path / "stage")
    films = convert(job)
    assert done(films) == {"long.mp4": "done", "short.mkv": "done"}, [film.why for film in films]
    assert not list((tmp_path / "stage").rglob("*.m*"))
    assert [film.status for film in look(job, "cpu")] == ["kept", "kept"]
    (host.root / "in").rename(archive)
    undisturbed(archive)
    (host.root / "out").rename(archive.parent / "out")
    equal(archive)
