"""Downloads from a server of our own on this machine, by https with a certificate made here."""

from __future__ import annotations

import hashlib
import http.server
import shutil
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from vsr.errors import WeightsError
from vsr.models import weights
from vsr.models.compact import SRVGGNetCompact
from vsr.models.download import download
from vsr.models.pull import pull
from vsr.models.sources import Network, WebWeights, ZooEntry

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificate")
DATA = bytes(range(256)) * 9000
SHA256 = hashlib.sha256(DATA).hexdigest()
files = {"/net.pth": DATA}


class Server(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        data = files.get(self.path, DATA)
        if self.path == "/gone.pth":
            self.send_error(404)
            return
        if self.path == "/plain.pth":
            self.send_response(302)
            self.send_header("Location", "http://localhost/net.pth")
            self.end_headers()
            return
        self.send_response(200)
        if self.path != "/endless.pth":
            self.send_header("Content-Length", str(len(data) + (100 if self.path == "/short.pth" else 0)))
        self.end_headers()
        self.wfile.write(data[::-1] if self.path == "/changed.pth" else data)

    def log_message(self, *args: object) -> None:
        """Nothing on the screen."""


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("certificate") / "both.pem"
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", str(path) + ".key"]
    name = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-days", "2"]
    subprocess.run(["openssl", "req", "-x509", *curve, *name, "-out", str(path)], check=True, capture_output=True)
    return path


@pytest.fixture
def address(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, f"{certificate}.key")
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))  # what Python trusts
    monkeypatch.setenv("no_proxy", "localhost")
    with http.server.HTTPServer(("localhost", 0), Server) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"https://localhost:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("digits", [8, 12, 64])
def test_a_file_arrives_whole(address: str, tmp_path: Path, digits: int) -> None:
    path = download(WebWeights(f"{address}/net.pth", SHA256[:digits]), tmp_path / "new")
    assert path.name == "net.pth"
    assert path.read_bytes() == DATA
    assert [*path.parent.iterdir()] == [path]


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("gone.pth", "the server says 404 Not Found.*--model FILE"),
        ("changed.pth", f"checksum .*, expected {SHA256[:12]}"),
        ("short.pth", "ended after 2,304,000 of 2,304,100 bytes"),
        ("plain.pth", "cannot be reached|not an https address|the server says 302"),
    ],
)
def test_what_is_not_the_file_is_refused_and_leaves_nothing(address: str, tmp_path: Path, file: str, message: str) -> None:
    with pytest.raises(WeightsError, match=message) as caught:
        download(WebWeights(f"{address}/{file}", SHA256), tmp_path / "new")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "new").exists() or not [*(tmp_path / "new").iterdir()]


@pytest.mark.parametrize("file", ["net.pth", "endless.pth"])
def test_too_large_a_file_is_refused(address: str, tmp_path: Path, file: str) -> None:
    """Whether the server says its size or not."""
    with pytest.raises(WeightsError, match="more than 1,000,000 bytes"):
        download(WebWeights(f"{address}/{file}", SHA256), tmp_path, largest=1_000_000)
    assert not [*tmp_path.glob("*.pth"), *tmp_path.glob(".*.pth.*")]


def test_no_connection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "localhost")
    with pytest.raises(WeightsError, match=r"https://localhost:9/net\.pth: cannot be reached.*check the connection"):
        download(WebWeights("https://localhost:9/net.pth", SHA256), tmp_path)


def test_an_unknown_certificate(address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    with pytest.raises(WeightsError, match="CERTIFICATE_VERIFY_FAILED"):
        download(WebWeights(f"{address}/net.pth", SHA256), tmp_path)


FULL = """
import resource, sys
from pathlib import Path
from vsr.errors import WeightsError
from vsr.models.download import download
from vsr.models.sources import WebWeights
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    download(WebWeights(sys.argv[1], sys.argv[2]), Path(sys.argv[3]))
except WeightsError as exc:
    print(exc)
"""


def test_a_file_that_may_not_grow_is_as_a_full_disk(address: str, tmp_path: Path) -> None:
    command = [sys.executable, "-c", FULL, f"{address}/net.pth", SHA256, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.startswith(f"{tmp_path}: cannot be written (File too large)")
    assert "VSR_CACHE" in done.stdout
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize(
    ("place", "sha256"),
    [("http://x/y.pth", SHA256), ("file:///y.pth", SHA256), ("https://x/y.pth", SHA256[:7]), ("https://x/y.pth", "z" * 64)],
)
def test_sources_that_cannot_be_checked_are_no_sources(place: str, sha256: str) -> None:
    with pytest.raises(ValueError, match=r"https only|no SHA-256"):
        WebWeights(place, sha256)


def zoo_entry(net: SRVGGNetCompact, source: WebWeights) -> ZooEntry:
    network = Network(net.spec, {"num_conv": 1, "num_feat": 4, "upscale": 2}, source)
    return ZooEntry("tiny", "", "", "", (network,))


def test_pulled_checkpoints_are_converted_and_then_load(
    address: str, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = SRVGGNetCompact(1, num_feat=4, upscale=2)
    torch.save({"params_ema": net.half().state_dict()}, tmp_path / "net.pth")
    monkeypatch.setitem(files, "/tiny.pth", (tmp_path / "net.pth").read_bytes())
    sha256 = hashlib.sha256(files["/tiny.pth"]).hexdigest()
    entry = zoo_entry(net, WebWeights(f"{address}/tiny.pth", sha256[:8]))
    (network,) = entry.networks
    assert not weights.is_here(network)
    with pytest.raises(WeightsError, match="its weights are not here; run: vsr models pull SRVGGNetCompact"):
        weights.load_network(network)
    (said,) = pull(entry)
    assert str(cache) in said
    assert [*pull(entry)] == ["tiny x2: is here already"]
    loaded = weights.load_network(network)
    assert isinstance(loaded, SRVGGNetCompact)
    assert all(torch.equal(loaded.state_dict()[name], tensor) for name, tensor in net.float().state_dict().items())
    assert len([*(cache / "weights").iterdir()]) == 1


def test_another_networks_checkpoint_is_not_kept(
    address: str, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.save({"params": SRVGGNetCompact(2, num_feat=4, upscale=2).state_dict()}, tmp_path / "net.pth")
    monkeypatch.setitem(files, "/tiny.pth", (tmp_path / "net.pth").read_bytes())
    sha256 = hashlib.sha256(files["/tiny.pth"]).hexdigest()
    with pytest.raises(WeightsError, match="do not fit SRVGGNetCompact"):
        [*pull(zoo_entry(SRVGGNetCompact(1, num_feat=4, upscale=2), WebWeights(f"{address}/tiny.pth", sha256)))]
    assert not [*cache.iterdir()]
