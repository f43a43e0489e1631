"""Workers as actors of a Ray cluster: one for each GPU (or part of a CPU) of every node, and some that join.

Ray starts processes, finds places for them and tells when they die; everything else is the driver's and the queue's, as on one
machine. So no ActorPool, no restarts and no retries of Ray's own: an actor that is waited for keeps its task to itself, and a
batch stands still. Only tasks and events travel, paths and numbers; frames never do.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vsr.errors import JobError, UsageError
from vsr.jobs.actor import Actor, Make, Place, end_process, missing_path, versions, worker_on
from vsr.jobs.local import STARTS
from vsr.jobs.pool import JOINER, joiners_for
from vsr.jobs.ray_cluster import NODE_GONE, connect, death_of, disconnect, reach
from vsr.jobs.tasks import ENDS, Event, Failed, Lost, Ready, Task, Unfit

LOOK = 5.0  # seconds between two looks at which nodes there are
PATIENCE = 30.0  # seconds without any worker until that is said
HEADLESS = 20.0  # seconds without the head of the cluster until the batch ends
ENDING = 10.0  # seconds for the actors to be gone

Say = Callable[[str], None]


@dataclass
class _Hire:
    """A worker's actor. `awaited`: its place, when it has begun, or the events of its task."""

    actor: Any
    awaited: Any
    starts: int
    place: Place | None = None
    task: Task | None = None
    refused: bool = False
    killed_for: str = ""


class RayPool:
    """Actors of a cluster; see `vsr.jobs.pool`. With `workers` 0 there are as many as the cluster has room for, also when nodes
    come; an actor that there is no room for waits, which is what makes an autoscaler add nodes.

    `device`: "cuda", "cpu", or "auto": GPUs where the cluster has any. `make` makes what does the tasks.
    A worker of no use keeps its place, so that the one that is asked for instead comes to another.
    """

    def __init__(self, device: str = "auto", workers: int = 0, say: Say | None = None, make: Make = worker_on) -> None:
        self._ray, self._ours = connect()
        self._workers, self._say, self._make = workers, say, make
        gpus = sum(node.get("GPU", 0) for node in self._nodes())
        self._kind = ("cuda" if gpus else "cpu") if device == "auto" else device
        self._cpus = cpus_each([int(node.get("CPU", 0)) for node in self._nodes()], workers)
        self._class = self._ray.remote(Actor)
        self._hires: dict[int, _Hire] = {}
        self._names: dict[int, str] = {}
        self._given_up: set[int] = set()
        self._looked = self._waited_from = time.monotonic()
        self._told = False
        self._head = str(self._ray.get_runtime_context().gcs_address)
        self._answered, self._lives = time.monotonic(), True
        self._grow()

    def _head_answers(self) -> bool:
        """Else whatever Ray is asked takes long, and after a minute without a head it ends this process without a word.

        Raises JobError where that has lasted.
        """
        try:
            reach(self._head, 2.0)
        except OSError as exc:
            if time.monotonic() - self._answered > HEADLESS:
                self._lives = False
                raise JobError("the head of the cluster is gone; start it again, and the same command goes on") from exc
            return False
        self._answered = time.monotonic()
        return True

    def _nodes(self) -> list[dict[str, float]]:
        """What every node of the cluster has."""
        return [node["Resources"] for node in self._ray.nodes() if node["Alive"]]

    def _room(self) -> int:
        """How many workers all nodes have room for."""
        one, name = (1, "GPU") if self._kind == "cuda" else (self._cpus, "CPU")
        return sum(int(node.get(name, 0) // one) for node in self._nodes())

    def _grow(self) -> None:
        """Asks for workers until there are as many as are wanted, and for others in place of those that are of no use."""
        self._looked = time.monotonic()
        room = self._room()
        asked = self._workers or max(1, room)
        useless = sum(number > JOINER for number in self._given_up) + sum(hire.refused for hire in self._hires.values())
        wanted = range(min(asked + useless, max(asked, room)))
        for number in [*joiners_for(len(wanted)), *wanted]:
            if number not in self._hires and number not in self._given_up:
                self._names[number] = f"worker {number + 1}" if number > JOINER else f"joiner {-number}"
                self._hire(number)

    def _hire(self, number: int, starts: int = 0) -> None:
        needs: dict[str, Any] = {"num_cpus": self._cpus}
        if number <= JOINER:  # beside the driver: what ends this node ends the batch anyway
            here = self._ray.get_runtime_context().get_node_id()
            needs = {"num_cpus": 0, "scheduling_strategy": self._at(here)}
        elif self._kind == "cuda":
            needs = {"num_cpus": 1, "num_gpus": 1}
        device = "cuda:0" if self._kind == "cuda" else self._kind  # an actor sees no GPU but its own
        make = None if number <= JOINER else self._make
        actor = self._class.options(max_restarts=0, max_task_retries=0, **needs).remote(
            device, self._cpus, str(Path.cwd()), versions(), make
        )
        self._hires[number] = _Hire(actor, actor.place.remote(), starts + 1)

    def free(self) -> list[int]:
        return [number for number, hire in self._hires.items() if hire.place and not hire.task and not hire.refused]

    def alive(self) -> int:
        if not any(number <= JOINER for number in self._hires):
            return 0  # nothing could be finished
        return sum(number > JOINER and not hire.refused for number, hire in self._hires.items())

    def give(self, worker: int, task: Task) -> None:
        hire = self._hires[worker]
        hire.task = task
        hire.awaited = hire.actor.do.options(num_returns="streaming").remote(task)

    def name_of(self, worker: int) -> str:
        return self._names[worker]

    def events(self, seconds: float) -> list[tuple[int, Event]]:
        if time.monotonic() - self._looked > LOOK and self._head_answers():
            self._grow()
        self._tell()
        waiting = [(number, hire) for number, hire in self._hires.items() if hire.awaited is not None]
        if not waiting:
            time.sleep(seconds)
            return []
        every = [hire.awaited for _, hire in waiting]
        self._ray.wait(every, num_returns=1, timeout=seconds, fetch_local=False)
        ready = set(self._ray.wait(every, num_returns=len(every), timeout=0, fetch_local=False)[0])
        return [(number, self._hear(number, hire)) for number, hire in waiting if hire.awaited in ready]

    def _hear(self, number: int, hire: _Hire) -> Event:
        """One event of a worker that has something to say."""
        try:
            if hire.place is None:
                return self._begun(number, hire)
            event: Event = self._ray.get(next(hire.awaited))
        except self._ray.exceptions.RayTaskError as exc:
            if hire.place is None:
                return self._lost(number, hire, str(exc.cause))
            event = Failed(f"internal error: {exc.cause}", str(exc))
        except (self._ray.exceptions.RayError, StopIteration) as exc:
            return self._lost(number, hire, death_of(exc))
        if isinstance(event, Unfit) and hire.task and (gone := missing_path(hire.task)):
            event = Failed(f"{gone}: is gone", final=True)  # for the driver, too: not this node's fault
        if isinstance(event, ENDS):
            hire.task = hire.awaited = None
        return event

    def _begun(self, number: int, hire: _Hire) -> Event:
        place: Place = self._ray.get(hire.awaited)
        hire.place, hire.awaited, hire.starts = place, None, 0
        self._names[number] = place.name if number > JOINER else f"joiner {-number} on {place.name}"
        return Unfit(place.problem) if place.problem else Ready()

    def _lost(self, number: int, hire: _Hire, reason: str) -> Lost:
        """It is gone, or cannot be reached, which is the same to us."""
        reason = hire.killed_for or reason
        with suppress(Exception):  # whatever Ray has to say of one that is gone already
            self._ray.kill(hire.actor)
        del self._hires[number]
        if hire.place is not None:
            log = f"worker-*-{hire.place.pid}.err among Ray's logs there"
            reason = f"{reason}; what it said last is in {log}"
        starts = hire.starts - 1 if reason == NODE_GONE else hire.starts  # that can happen to anyone
        if starts < STARTS:
            self._hire(number, starts)
        else:
            self._given_up.add(number)
            self._grow()
        return Lost(reason)

    def _tell(self) -> None:
        """Says once that nothing can begin, what there is and what is asked for: that may be meant so."""
        if any(hire.place for number, hire in self._hires.items() if number > JOINER and not hire.refused):
            self._waited_from, self._told = time.monotonic(), False
        elif not self._told and self._say is not None and time.monotonic() - self._waited_from > PATIENCE:
            self._told = True
            nodes = self._nodes()
            has = ", ".join(f"{sum(node.get(name, 0) for node in nodes):g} {name}" for name in ("CPU", "GPU"))
            each = "1 GPU and 1 CPU" if self._kind == "cuda" else f"{self._cpus} CPU"
            self._say(f"no worker has begun for {PATIENCE:.0f} s: asked for are {self.alive()} with {each} each, and the cluster "
                      f"has {has} on {len(nodes)} nodes, which others may be using; waiting")  # fmt: skip

    def retire(self, worker: int) -> None:
        self._hires[worker].refused = True
        self._grow()

    def kill(self, worker: int, reason: str) -> None:
        """On its node: Ray only asks an actor to end, and one that stands still would keep its GPU."""
        hire = self._hires[worker]
        assert hire.place is not None
        hire.killed_for = reason
        strategy = self._at(hire.place.node)
        self._ray.remote(end_process).options(num_cpus=0, max_retries=0, scheduling_strategy=strategy).remote(hire.place.pid)

    def _at(self, node: str) -> Any:
        """Ray's word for a node, and no other."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        return NodeAffinitySchedulingStrategy(node, soft=False)

    def close(self) -> None:
        """Ends all actors, and waits for that: until then they hold their GPUs, and may be writing."""
        actors = [hire.actor for hire in self._hires.values()]
        self._hires.clear()
        if not self._lives:
            return  # they end by themselves, without a head
        ends = []
        for actor in actors:
            with suppress(Exception):  # of an actor, or a cluster, that is gone already
                ends.append(actor.place.remote())
                self._ray.kill(actor)
        with suppress(Exception):
            if ends:
                self._ray.wait(ends, num_returns=len(ends), timeout=ENDING, fetch_local=False)
        if self._ours:
            self._ours = False
            disconnect(self._ray)


def device_for(wanted: Sequence[str]) -> str:
    """What `--device` means to a cluster. Raises UsageError for devices of one machine."""
    kinds = {"auto": "auto", "all": "auto", "cpu": "cpu", "cuda": "cuda"}
    if len(wanted) != 1 or wanted[0] not in kinds:
        raise UsageError(f"--device {','.join(wanted)}: with --engine ray give auto, cuda (one worker for each GPU) or cpu")
    return kinds[wanted[0]]


def cpus_each(nodes: Sequence[int], workers: int) -> int:
    """CPUs of a worker, so that `workers` find room on nodes with so many CPUs; 0: one on each node, at least."""
    wanted = workers or sum(cpus > 0 for cpus in nodes)
    fitting = (cpus for cpus in range(max(nodes, default=1), 0, -1) if sum(node // cpus for node in nodes) >= wanted)
    return next(fitting, 1)
