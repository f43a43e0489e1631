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
from vsr.errors import JobError
from vsr.jobs import remote
from vsr.jobs.batch import look
from vsr.jobs.definition import Definition, load_definition
from vsr.jobs.remote import Store

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


def test_a_connection_that_breaks_is_made_anew(archive: Path, host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "PAUSE", 0.0)
    (host.root / "Season #1").mkdir()
    film = host.root / "Season #1" / "who? [a]::b.mkv"
    film.write_bytes(b"film")
    (host.root / "link.mkv").symlink_to(film)
    store = Store({"sftp": {"port": host.port, "key_filename": str(host.key)}})
    assert {name: found.size for name, found in store.files(host.url()).items()} == {
        "Season #1/who? [a]::b.mkv": 4, "link.mkv": 4,
    }  # fmt: skip
    fs, _ = store._at(host.url())
    fs.client.get_transport().close()
    assert store.read(host.url("Season #1", "who? [a]::b.mkv")) == b"film"
    store.write(host.url("Season #1", "out#.mkv"), b"made")
    assert (host.root / "Season #1" / "out#.mkv").read_bytes() == b"made"


def test_another_host_than_the_one_that_is_known(host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "PAUSE", 0.0)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".ssh").mkdir()
    stranger = asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode()
    (tmp_path / ".ssh" / "known_hosts").write_text(f"[127.0.0.1]:{host.port} {stranger}")
    store = Store({"sftp": {"port": host.port, "key_filename": str(host.key)}})
    with pytest.raises(JobError, match="does not match"):
        store.files(host.url())
