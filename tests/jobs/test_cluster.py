"""Batches on a Ray cluster of several nodes, which are on this machine: deaths, refusals, nodes that come and go."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.films import make
from tests.jobs import cluster_workers
from tests.jobs.test_batch import LONG, SETTINGS, SHORT, command, done, equal, undisturbed
from vsr.errors import ConfigError, UsageError
from vsr.jobs import actor, cluster, ray_cluster
from vsr.jobs.batch import look
from vsr.jobs.cluster import RayPool, cpus_each, device_for
from vsr.jobs.definition import Definition, load_definition
from vsr.jobs.local import STARTS
from vsr.jobs.progress import Progress
from vsr.jobs.run import run_films
from vsr.jobs.tasks import Event, Lost, PlanTask, Ready, RenderTask

ray = pytest.importorskip("ray")
from ray.cluster_utils import Cluster  # noqa: E402

ROOT = Path(__file__).parents[2]
STORE = 80 << 20

pytestmark = pytest.mark.slow  # a server or a cluster is started


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two films, and beside them what `vsr upscale` makes of them."""
    folder = tmp_path_factory.mktemp("films") / "in"
    (folder / "sub").mkdir(parents=True)
    make(LONG, folder)
    make(SHORT, folder / "sub")
    undisturbed(folder)
    return folder


@pytest.fixture
def job(archive: Path, request: pytest.FixtureRequest) -> Definition:
    return load_definition("hd_to_uhd", SETTINGS, [str(archive)], str(archive.parent / request.node.name))


@pytest.fixture(scope="module")
def pids(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where workers write down that they have lived."""
    return tmp_path_factory.mktemp("pids")


@pytest.fixture(scope="module")
def head(pids: Path) -> Iterator[Any]:
    """A cluster whose first node is for the driver and the joiner alone; tests add others."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VSR_TEST_PIDS", str(pids))
        patch.setenv("VSR_TEST_GO", str(pids / "go"))
        patch.setenv("PYTHONPATH", str(ROOT))
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        node = {"num_cpus": 0, "include_dashboard": False, "object_store_memory": STORE}
        made = Cluster(initialize_head=True, head_node_args=node)
        patch.setenv("RAY_ADDRESS", made.address)
        yield made
        made.shutdown()


@pytest.fixture
def nodes(head: Any, pids: Path) -> Iterator[Callable[..., Any]]:
    """Adds a node; afterwards all of them are gone, and so are the workers."""
    added: list[Any] = []

    def add(name: str, path: Path | None = None, gpus: int = 0) -> Any:
        variables = {"NODE": name} | ({"PYTHONPATH": f"{path}:{ROOT}"} if path else {})
        added.append(head.add_node(num_cpus=1, num_gpus=gpus, object_store_memory=STORE, env_vars=variables))
        return added[-1]

    yield add
    for node in added:
        if node in head.worker_nodes:
            head.remove_node(node)
    assert not ray.is_initialized()
    left = [path.name for path in pids.iterdir() if path.name.isdigit() and _lives(path.name)]
    assert not left, "workers that nobody has ended"


def _lives(pid: str) -> bool:
    for _ in range(50):
        try:
            if "State:\tZ" in Path(f"/proc/{pid}/status").read_text():
                return False
        except (FileNotFoundError, ProcessLookupError):
            return False
        time.sleep(0.1)
    return True


def test_nodes_come_and_go_and_workers_die(
    archive: Path, job: Definition, head: Any, nodes: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "PATIENCE", 0.5)
    monkeypatch.setattr(cluster, "LOOK", 0.5)
    said: list[str] = []
    there: list[Any] = []

    def say(text: str) -> None:
        said.append(text)
        if len(there) < 1:
            there.append(nodes("first"))

    def seen(progress: Progress) -> None:
        if progress.frames > 20 and len(there) == 1:
            there.append(nodes("second"))
            head.remove_node(there[0], allow_graceful=False)

    films = look(job, "cpu")
    notes = run_films(films, RayPool(say=say, make=cluster_workers.mortal), 1, seen)
    assert done(films) == {"long.mp4": "done", "short.mkv": "done"}, [film.why for film in films]
    assert "asked for are 1 with 1 CPU each, and the cluster has 0 CPU" in said[0]
    assert len(there) == 2
    assert any("its process is gone" in note and ".err among Ray's logs" in note for note in notes)
    # whether a worker was on the node at that moment, depends: if so, it is told as what it was
    gone = ("its process is gone", "its node is gone", "cannot be reached")
    assert all(any(kind in note for kind in gone) for note in notes if "is gone" in note or "reached" in note)
    (Path(job.output) / "killed").unlink()
    equal(archive, job.output)


def test_one_that_stands_still_is_ended_on_its_node(job: Definition, nodes: Callable[..., Any], pids: Path) -> None:
    """Which has room for no second one beside it."""
    nodes("small")
    known = {path.name for path in pids.iterdir()}
    (film, *_) = look(job, "cpu")
    assert film.config is not None
    film.work_dir.mkdir(parents=True)
    asked = list[int]()
    before = signal.signal(signal.SIGTERM, lambda number, frame: asked.append(number))
    pool = RayPool(workers=1, make=cluster_workers.still)
    os.kill(os.getpid(), signal.SIGTERM)
    signal.signal(signal.SIGTERM, before)
    assert asked == [signal.SIGTERM], "which Ray takes for itself, where it is let"

    def heard(kind: type[Event]) -> Event:
        until = time.monotonic() + 60
        while time.monotonic() < until:
            for worker, event in pool.events(0.5):
                if worker == 0 and isinstance(event, kind):
                    return event
        raise AssertionError(f"no {kind.__name__} came")

    try:
        heard(Ready)
        pool.give(0, PlanTask(0, film.config))
        (pid,) = {path.name for path in pids.iterdir() if path.name.isdigit()} - known
        while "State:\tT" not in Path(f"/proc/{pid}/status").read_text():
            time.sleep(0.1)
        pool.kill(0, "no frame came from it")
        lost = heard(Lost)
        assert isinstance(lost, Lost) and lost.reason.startswith("no frame came from it")
        heard(Ready)
    finally:
        pool.close()


def test_a_segment_that_kills_and_a_node_where_none_can_begin(job: Definition, nodes: Callable[..., Any]) -> None:
    nodes("alive", gpus=1)
    nodes("dead", gpus=1)
    pool = RayPool(make=cluster_workers.poisoned)
    assert pool.alive() == 2, "one for each GPU"
    films = look(job, "cpu")
    notes = run_films(films, pool, 2)
    assert done(films) == {"long.mp4": "failed", "short.mkv": "done"}
    film = films[0]
    assert "a worker was lost: its process is gone" in film.why and not film.output.exists()
    assert film.log is not None and film.log.read_text().count("a worker was lost") >= 3
    assert sum(note.startswith("worker ") for note in notes) == STARTS, notes


def test_nodes_of_other_versions_are_left_out_by_name(
    archive: Path, job: Definition, nodes: Callable[..., Any], pids: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "LOOK", 0.5)
    old = tmp_path / "old"
    old.mkdir()
    (old / "sitecustomize.py").write_text("import vsr\nvsr.__version__ = '0.0.9'\n")
    torch = tmp_path / "torch"
    (torch / "torch-2.99.0.dist-info").mkdir(parents=True)
    (torch / "torch-2.99.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: torch\nVersion: 2.99.0\n")

    class Watched(RayPool):
        refused = 0

        def retire(self, worker: int) -> None:
            super().retire(worker)
            self.refused += 1
            if self.refused == 2:
                (pids / "go").touch()

    nodes("good")
    others: list[Any] = []

    def seen(progress: Progress) -> None:
        if not others and (Path(job.output) / ".long.mp4.vsr" / "plan.json").exists():
            others.extend((nodes("old", old), nodes("other", torch)))

    films = look(job, "cpu")
    notes = run_films(films, Watched(make=cluster_workers.waiting), 1, seen)
    assert done(films) == {"long.mp4": "done", "short.mkv": "done"}
    left_out = sorted(note for note in notes if "is left out" in note)
    assert len(left_out) == 2 == len(notes), notes
    for node in others:
        assert sum(node.node_id[:6] in note for note in left_out) == 1, "named by its node"
    assert any("it has vsr 0.0.9 and the driver" in note for note in left_out)
    assert any("versions: torch was" in note and 'is "2.99.0"' in note for note in left_out)
    equal(archive, job.output)


def test_the_command(archive: Path, nodes: Callable[..., Any]) -> None:
    nodes("one")
    ran = subprocess.run(command(archive, "--engine", "ray", "--json", "-"), capture_output=True, text=True, timeout=200)
    report = json.loads(ran.stdout)
    assert ran.returncode == 0 and {each["status"] for each in report["files"]} == {"done"}, ran.stderr
    assert "Traceback" not in ran.stderr
    equal(archive)


def test_a_node_that_does_not_see_the_films(job: Definition, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(actor, "PATIENCE", 0.0)
    film, _ = look(job, "cpu")
    assert film.config is not None
    plan, render = PlanTask(0, film.config), RenderTask(0, film.config, (0,))
    assert actor.unseen_path(plan) == film.work_dir, "the driver makes it before it asks for a plan"
    film.work_dir.mkdir(parents=True)
    assert actor.unseen_path(plan) is None
    assert actor.unseen_path(render) == film.work_dir / "plan.json"
    film.config = replace(film.config, source="/nowhere/long.mp4")
    assert actor.unseen_path(PlanTask(0, film.config)) == Path("/nowhere/long.mp4")


def test_cpus_of_a_worker_leave_room_for_all_on_nodes_of_any_size() -> None:
    assert cpus_each([4, 4], 2) == 4
    assert cpus_each([8, 4, 4], 3) == 4
    assert cpus_each([8, 4, 4], 0) == 4, "one on each node at least"
    assert cpus_each([0, 16], 4) == 4
    assert cpus_each([2, 2], 9) == 1, "some of them wait"
    assert cpus_each([0], 0) == cpus_each([], 2) == 1


def test_what_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [device_for([name]) for name in ("auto", "all", "cpu", "cuda")] == ["auto", "auto", "cpu", "cuda"]
    for wanted in (["cuda:1"], ["cuda", "cpu"], ["vulkan"]):
        with pytest.raises(UsageError, match="--engine ray"):
            device_for(wanted)
    monkeypatch.setenv("RAY_ADDRESS", "ray://head:10001")
    with pytest.raises(ConfigError, match="HOST:PORT"):
        ray_cluster.connect()
