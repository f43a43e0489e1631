"""Films in remote storage: against a server that speaks S3's protocol, and fsspec's `file` for storage that has to rename."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest

from tests.films import make
from tests.jobs.servers import serving
from tests.jobs.test_batch import FRAMES, LONG, SETTINGS, SHORT, SLOTS, done, equal, undisturbed
from tests.test_resume import same
from vsr.errors import ConfigError, JobError
from vsr.jobs import remote
from vsr.jobs.addresses import is_remote, under
from vsr.jobs.batch import Film, look
from vsr.jobs.definition import Definition, load_definition
from vsr.jobs.errands import Fetch, SendPlan, SendSegment
from vsr.jobs.local import LocalPool, Slot, serve
from vsr.jobs.refusals import Absent
from vsr.jobs.remote import Store
from vsr.jobs.run import run_films, share_of
from vsr.jobs.shelf import crown_of, plan_key
from vsr.jobs.sources import find_sources
from vsr.jobs.staging import require_writable
from vsr.jobs.targets import target_of
from vsr.jobs.tasks import RenderTask
from vsr.journal import PLAN
from vsr.pipeline import upscale

ROOT = Path(__file__).parents[2]
KEYS = {"AWS_ACCESS_KEY_ID": "tests", "AWS_SECRET_ACCESS_KEY": "sesame-street", "AWS_DEFAULT_REGION": "us-east-1"}

pytestmark = pytest.mark.slow  # a server or a cluster is started


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of an S3 server on this machine."""
    pytest.importorskip("s3fs")
    pytest.importorskip("moto.server")
    log = tmp_path_factory.mktemp("s3") / "log"
    with serving(lambda port: [sys.executable, "-m", "moto.server", "-p", str(port)], log) as port:
        yield f"http://127.0.0.1:{port}"


@pytest.fixture
def bucket(server: str, monkeypatch: pytest.MonkeyPatch) -> tuple[Store, str]:
    """A store and an empty bucket in it."""
    for key, value in KEYS.items():
        monkeypatch.setenv(key, value)
    monkeypatch.setenv("AWS_ENDPOINT_URL", server)
    store = Store({})
    url = f"s3://bucket-{time.time_ns()}"
    fs, path = store._at(url)
    fs.mkdir(path)
    return store, url


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    (folder / "sub").mkdir(parents=True)
    make(LONG, folder)
    make(SHORT, folder / "sub")
    return folder


def sent(archive: Path, store: Store, url: str) -> str:
    """The archive in a bucket."""
    folder = under(url, "in")
    for path in (archive / "long.mp4", archive / "sub" / "short.mkv"):
        store.send(path, under(folder, *path.relative_to(archive).parts))
    return folder


def job_of(source: str, output: str, stage: Path) -> Definition:
    return replace(load_definition("hd_to_uhd", SETTINGS, [source], output), stage=str(stage))


def convert(job: Definition, **more: Any) -> list[Film]:
    films = look(job, "cpu")
    require_writable(films, job)
    run_films(films, LocalPool(SLOTS[:1]), 1, definition=job, **more)
    return films


def brought(store: Store, url: str, folder: Path) -> None:
    """Everything below an address as local files."""
    for name, found in store.files(url).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        store.fetch(found, folder / name)


def names(store: Store, url: str) -> set[str]:
    return set(store.files(url))


def command(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("AWS")} | environment
    settings = [word for setting in SETTINGS for word in ("--set", setting)]
    start = [sys.executable, "-m", "vsr", "batch", "hd_to_uhd", *settings, "--device", "cpu"]
    return subprocess.run([*start, *words], capture_output=True, text=True, timeout=200, env=environment, cwd=ROOT)


RESULTS = {"long.mp4", "sub/short.mkv", ".vsr-batch/long.mp4.json", "sub/.vsr-batch/short.mkv.json"}


def test_a_folder_there_and_back(archive: Path, bucket: tuple[Store, str], tmp_path: Path) -> None:
    store, url = bucket
    sources, output, stage = sent(archive, store, url), under(url, "out"), tmp_path / "stage"
    films = convert(job_of(sources, output, stage))
    assert [(film.target.source.name, film.target.name) for film in films] == [
        (f"{sources}/long.mp4", f"{output}/long.mp4"), (f"{sources}/sub/short.mkv", f"{output}/sub/short.mkv"),
    ]  # fmt: skip
    assert done(films) == {"long.mp4": "done", "short.mkv": "done"} and films[0].frames == FRAMES
    assert names(store, output) == RESULTS
    assert list(stage.iterdir()) == [], "nothing stays here"
    undisturbed(archive)
    brought(store, output, tmp_path / "out")
    equal(archive)
    again = look(job_of(sources, output, tmp_path / "another machine's"), "cpu")
    assert [(film.status, film.frames) for film in again] == [("kept", FRAMES), ("kept", 10)]
    make(replace(SHORT, pts=tuple(range(0, 600, 40))), archive / "sub")
    store.send(archive / "sub" / "short.mkv", f"{sources}/sub/short.mkv")
    again = look(job_of(sources, output, stage), "cpu")
    assert [(film.status, film.why) for film in again] == [("kept", ""), ("todo", "the source has changed since")]
    other = look(replace(job_of(sources, output, stage), model="esrgan-x2", encode=replace(films[0].config.encode, crf=3)), "cpu")  # type: ignore[union-attr]
    assert [film.status for film in other] == ["skipped", "skipped"] and "--overwrite" in other[0].why
    entry = store.read(f"{output}/.vsr-batch/long.mp4.json").decode()
    assert KEYS["AWS_SECRET_ACCESS_KEY"] not in entry and "stage" not in json.loads(entry)["identity"]


def _stalls(slot: Slot, connection: Connection, log: str, parent: int) -> None:
    """A worker's life that stands still when it is given a late part of a film."""
    import vsr.jobs.worker

    class Slow(vsr.jobs.worker.Worker):
        def _render(self, task: RenderTask, emit: Any) -> Any:
            if max(task.segments) >= 6:
                time.sleep(1000)
            return super()._render(task, emit)

    vsr.jobs.worker.Worker = Slow  # type: ignore[misc]
    serve(slot, connection, log, parent)


def stall(source: str, output: str, stage: str) -> None:
    """A machine that will be gone in the middle of a film."""
    job = job_of(source, output, Path(stage))
    run_films(look(job, "cpu"), LocalPool(SLOTS[:1], _stalls), 1, definition=job)


def test_another_machine_goes_on(archive: Path, bucket: tuple[Store, str], tmp_path: Path) -> None:
    store, url = bucket
    source, output = under(sent(archive, store, url), "long.mp4"), under(url, "out")
    call = f"from tests.jobs.test_remote import stall; stall({source!r}, {output!r}, {str(tmp_path / 'lost')!r})"
    machine = subprocess.Popen([sys.executable, "-c", call], cwd=ROOT)
    records: list[str] = []
    while not records or len(records) < 5:
        assert machine.poll() is None
        time.sleep(0.2)
        records = [name for name in names(store, f"{output}/.long.mp4.vsr") if name.endswith(".json") and name != PLAN]
    machine.send_signal(signal.SIGKILL)
    machine.wait()
    assert "long.mp4" not in names(store, output)
    (film,) = convert(job_of(source, output, tmp_path / "stage"))
    assert film.status == "done" and film.report is not None
    assert film.report.frames_kept == 5 * len(records) == 25 and film.frames == FRAMES
    assert names(store, output) == {"long.mp4", ".vsr-batch/long.mp4.json"}
    brought(store, output, tmp_path / "out")
    (alone,) = look(job_of(str(archive / "long.mp4"), str(tmp_path / "whole"), tmp_path), "cpu")
    assert alone.config is not None
    alone.output.parent.mkdir()
    upscale(alone.config)
    same(alone.output, tmp_path / "out" / "long.mp4")


def test_an_upload_that_fails_costs_its_film(archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    output = tmp_path / "out"
    output.mkdir()
    (output / ".long.mp4.vsr").touch()  # in the way of the folder
    job = job_of(str(archive), f"file://{output}", tmp_path / "stage")
    films = convert(job)
    assert done(films) == {"long.mp4": "failed", "short.mkv": "done"}
    assert f"file://{output}/.long.mp4.vsr" in films[0].why and "cannot be written" in films[0].why
    assert not (output / "long.mp4").exists() and (output / "sub" / "short.mkv").exists()
    (output / ".long.mp4.vsr").unlink()
    assert done(convert(job)) == {"long.mp4": "done", "short.mkv": "kept"}
    assert not list(output.rglob("*.part")) and list((tmp_path / "stage").iterdir()) == []


def test_from_there_to_here(archive: Path, tmp_path: Path) -> None:
    """Remote sources, local results: broken films and those that need nothing are told apart when they are here."""
    (archive / "broken.mkv").write_bytes(b"nothing" * 500)
    job = job_of(f"file://{archive}", str(tmp_path / "out"), tmp_path / "stage")
    films = convert(replace(job, skip_at="90x48"))
    assert done(films) == {"broken.mkv": "failed", "long.mp4": "skipped", "short.mkv": "skipped"}
    assert films[0].why.startswith(f"file://{archive}/broken.mkv: ") and "already" in films[1].why
    films = convert(replace(job, exclude=("broken*", "long.mp4")))
    assert done(films) == {"short.mkv": "done"} and films[0].output == tmp_path / "out" / "sub" / "short.mkv"
    assert [film.status for film in look(replace(job, exclude=("broken*", "long.mp4")), "cpu")] == ["kept"]
    assert not [path for path in (tmp_path / "stage").rglob("*") if path.is_file()]


def test_one_clear_line(bucket: tuple[Store, str], archive: Path, tmp_path: Path) -> None:
    _, url = bucket
    server = os.environ["AWS_ENDPOINT_URL"]
    stage = ["--stage", str(tmp_path / "stage")]
    film = str(archive / "long.mp4")
    nobody = {"AWS_SHARED_CREDENTIALS_FILE": "/none", "AWS_CONFIG_FILE": "/none", "AWS_EC2_METADATA_DISABLED": "true"}
    for words, environment, told in (
        ([f"{url}-other/in", "-o", f"{url}/out"], {**KEYS, "AWS_ENDPOINT_URL": server}, "bucket does not exist"),
        ([film, "-o", f"{url}-other/out"], {**KEYS, "AWS_ENDPOINT_URL": server}, "bucket does not exist"),
        ([f"{url}/in", "-o", f"{url}/out"], {**nobody, "AWS_ENDPOINT_URL": server}, "Unable to locate credentials"),
    ):
        ended = command(*words, *stage, **environment)
        assert ended.returncode == 1 and told in ended.stderr and "Traceback" not in ended.stderr, ended.stderr
        assert len(ended.stderr.strip().splitlines()) == 1 and KEYS["AWS_SECRET_ACCESS_KEY"] not in ended.stderr


def test_nobody_answers(bucket: tuple[Store, str]) -> None:
    store = Store({"s3": {"endpoint_url": "http://127.0.0.1:9", "config_kwargs": {"retries": {"max_attempts": 0}}}})
    fs, _ = store._at("s3://any/film.mkv")
    fs.retries = 1
    with pytest.raises(JobError, match=r"s3://any/film.mkv: cannot be read: Could not connect to the endpoint"):
        store.find("s3://any/film.mkv")


def test_sources_are_found_as_on_a_disk(archive: Path, bucket: tuple[Store, str]) -> None:
    store, url = bucket
    for name in ("e10.mkv", "e2.MKV", "s1/a.mp4", ".hidden.mkv", ".x.vsr/000001.mkv", "notes.txt", "out/e2.mkv", "[odd] #1?.ts"):
        store.write(under(url, "tv", name), b"film")

    def found(*wanted: str, exclude: tuple[str, ...] = (), output: str = "") -> list[str]:
        return [each.name.removeprefix(f"{url}/tv/") for each in find_sources(wanted, exclude, output, store)]

    assert found(f"{url}/tv") == ["[odd] #1?.ts", "e2.MKV", "e10.mkv", "out/e2.mkv", "s1/a.mp4"]
    assert found(f"{url}/tv/", output=f"{url}/tv/out") == ["[odd] #1?.ts", "e2.MKV", "e10.mkv", "s1/a.mp4"]
    assert found(f"{url}/tv/**/*.mkv", exclude=("e1*",)) == ["out/e2.mkv"]
    assert found(f"{url}/tv/[[]odd*", f"{url}/tv/[odd] #1?.ts") == ["[odd] #1?.ts"]
    (source,) = find_sources([f"{url}/tv/s*/*.mp4"], store=store)
    assert source.below == Path("s1") and source.remote is not None and source.remote.size == 4
    store.write(f"{url}/texts/notes.txt", b"none")
    with pytest.raises(ConfigError, match="holds no film"):
        find_sources([f"{url}/texts"], store=store)
    with pytest.raises(Absent, match="there is no such object, folder or bucket"):
        find_sources([f"{url}/none"], store=store)
    (archive / "list.txt").write_text(f"{url}/tv/e10.mkv\nlong.mp4\n{url}/tv/missing.mkv\n")
    job = job_of(f"@{archive / 'list.txt'}", "", archive)
    films = look(job, "cpu")
    assert [film.status for film in films] == ["todo", "todo", "failed"] and "no such object" in films[2].why
    assert films[0].target.name == f"{url}/tv/e10.hd_to_uhd.mkv" and films[1].output == archive / "long.hd_to_uhd.mp4"


def test_what_is_fetched_goes_on_and_is_what_was_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "PIECE", 1000)
    monkeypatch.setattr(remote, "ROUND", 4000)
    monkeypatch.setattr(remote, "PAUSE", 0.0)
    there, here, store = tmp_path / "there.mkv", tmp_path / "here.mkv", Store({})
    there.write_bytes(os.urandom(10_500))
    found = store.find(f"file://{there}")
    assert found is not None
    part = here.with_name("here.mkv.part")
    part.write_bytes(there.read_bytes()[:4000] + b"torn" * 500)
    store.fetch(found, here)
    assert here.read_bytes() == there.read_bytes() and not part.exists()
    there.write_bytes(os.urandom(10_500))
    with pytest.raises(JobError, match="has changed since it was looked at"):
        store.fetch(found, here)


def test_what_fails_is_tried_again_and_then_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "PAUSE", 0.0)
    faults = [OSError("the line is dead"), TimeoutError("nobody there: https://b.s3.host/key?X-Amz-Signature=sesame")]

    def work() -> str:
        if faults:
            raise faults.pop()
        return "done"

    assert Store({})._tried(work, "s3://b/key", "cannot be written") == "done"
    faults += [OSError("the line is dead"), OSError("it is still"), TimeoutError("https://b.s3.host/key?X-Amz-Signature=sesame")]
    faults.reverse()
    with pytest.raises(JobError) as told:
        Store({})._tried(work, "s3://b/key", "cannot be written")
    assert "s3://b/key: cannot be written: https://b.s3.host/key;" in str(told.value) and "sesame" not in str(told.value)
    (tmp_path / "there").touch()
    with pytest.raises(JobError, match="cannot be written"):
        Store({}).send(tmp_path / "there", f"file://{tmp_path}/there/film.mkv")


def test_segments_of_two_plans_are_never_mixed(tmp_path: Path) -> None:
    store, url = Store({}), f"file://{tmp_path}/out/film.mkv"
    for machine, plan in (("a", "first"), ("b", "second")):
        work = tmp_path / machine
        work.mkdir()
        data = json.dumps({"fingerprint": {"source": machine, "device": plan}, "plan": {}}).encode()
        (work / PLAN).write_bytes(data)
        for suffix in (".mkv", ".json"):
            (work / f"000003{suffix}").write_text(machine)
        SendPlan(0, work, url).do(store)
        SendSegment(0, work, url, 3, plan_key(data)).do(store)
    Fetch(0, None, tmp_path / "c.mkv", url, tmp_path / "c").do(store)
    assert (tmp_path / "c" / "000003.mkv").read_text() == "b" == (tmp_path / "c" / "000003.json").read_text()
    fingerprint = json.loads((tmp_path / "c" / PLAN).read_text())["fingerprint"]
    assert fingerprint == {"source": str(tmp_path / "c.mkv"), "device": "second"}
    Fetch(0, None, tmp_path / "c.mkv", url, tmp_path / "a").do(store)
    assert (tmp_path / "a" / "000003.mkv").read_text() == "b", "what is there is newer than what was begun here"


def test_shares_are_of_whole_films(archive: Path, tmp_path: Path) -> None:
    job = job_of(str(archive), f"file://{tmp_path}/out", tmp_path / "stage")
    of = {film.target.name: share_of(film.target.name, 0, 2) for film in look(job, "cpu")}
    for part in (1, 2):
        films = convert(job, part=(part, 2))
        assert {film.target.name for film in films if film.status == "done"} == {name for name in of if of[name] == part}
    assert [film.status for film in look(job, "cpu")] == ["kept", "kept"]


def test_addresses() -> None:
    assert is_remote("s3://a/a:b@c.mkv") and is_remote("sftp://me@host:22/a") and is_remote("s3://arn:aws:s3:x:1:accesspoint/a")
    for secret in ("sftp://me:pa/sesame@h/x", "sftp://me:p@sesame@h/x", "s3://AKIA:sec/sesame@b/x", "sftp://me%3Asesame@h/x"):
        with pytest.raises(ConfigError, match="leave passwords and keys out of addresses") as told:
            is_remote(secret)
        assert "sesame" not in str(told.value)
    for nowhere, why in (("s3://", "names no bucket"), ("sftp:///in", "names no host"), ("memory://out", "one process alone")):
        with pytest.raises(ConfigError, match=why):
            is_remote(nowhere)
    with pytest.raises(ConfigError, match="two slashes, as s3://"):
        is_remote("s3:/bucket/out")
    assert is_remote("s3://a/b") and is_remote("sftp://me@host/a") and not is_remote("a/b.mkv") and not is_remote("@list.txt")
    with pytest.raises(ConfigError) as told:
        is_remote("sftp://me:sesame@host/film.mkv")
    assert "password" in str(told.value) and "sesame" not in str(told.value)
    with pytest.raises(ConfigError, match="Protocol not known: gopher"):
        Store({}).find("gopher://a/b")
    job = load_definition("hd_to_uhd", ["remote.s3.secret=sesame", "remote.s3.anon=true"], ["s3://b/a.mkv"], "s3://b/out")
    assert job.remote == {"s3": {"secret": "sesame", "anon": True}} and "sesame" not in repr(job)
    source = replace(find_sources(["x.mkv"])[0], remote=remote.Object("s3://b/x.mkv", 1, "1"))
    other = replace(source, remote=remote.Object("s3://b/x.mkv", 1, "2"))
    assert target_of(job, source).stage != target_of(job, other).stage, "a copy of what it was is not taken for what it is"


def test_slashes_of_keys_lead_nowhere_else(archive: Path, bucket: tuple[Store, str], tmp_path: Path) -> None:
    store, url = bucket
    for key in ("evil//tmp/escaped/x.mkv", "evil/../../x.mkv", "evil/marker.mkv/", "evil/a#1?b::c.mkv"):
        fs, path = store._at(url)
        fs.pipe_file(f"{path}/{key}", b"film")
    found = find_sources([f"{url}/evil"], store=store)
    assert [(source.below, source.path.name) for source in found] == [(Path(), "a#1?b::c.mkv"), (Path("tmp/escaped"), "x.mkv")]
    job = job_of(f"{url}/evil", str(tmp_path / "out"), tmp_path / "stage")
    assert [target_of(job, source).output for source in found][1] == tmp_path / "out" / "tmp" / "escaped" / "x.mkv"


def test_what_a_kill_left_there_goes_with_the_film(archive: Path, tmp_path: Path) -> None:
    out = tmp_path / "there"
    job = job_of(str(archive / "long.mp4"), f"file://{out}", tmp_path / "stage")
    work = out / ".long.mp4.vsr"
    work.mkdir(parents=True)
    (work / "plan.json").write_bytes(b'{"torn')
    (work / "long.mp4.0123.part").write_bytes(b"half a film")
    films = convert(job)
    assert films[0].status == "done", films[0].why
    assert sorted(path.name for path in out.iterdir()) == [".vsr-batch", "long.mp4"]
    (stage,) = {film.target.stage for film in films}
    assert stage is not None and not stage.exists()
    (stage / "in").mkdir(parents=True)
    assert [film.status for film in look(job, "cpu")] == ["kept"] and not stage.exists()


def test_a_result_that_was_sent_but_not_written_down(archive: Path, tmp_path: Path) -> None:
    """It is taken for what it is: this job's, or another's, which stays."""
    out = tmp_path / "there"
    job = job_of(str(archive / "long.mp4"), f"file://{out}", tmp_path / "stage")
    (film,) = look(job, "cpu")
    out.mkdir()
    (out / "long.mp4").write_bytes(b"whole")
    Store({}).write(f"file://{out}/.long.mp4.vsr/final.json", crown_of(5, film.identity))
    assert [film.status for film in look(job, "cpu")] == ["todo"]
    other = replace(job, encode=replace(job.encode, crf=40))
    assert [film.status for film in look(other, "cpu")] == ["skipped"]
