"""One stage of the film on a thread of its own: iterate here, produce there, with bounded room in between.

The only importer of `threading`. A stage is any iterable; what it yields, and what it raises, comes out at this end in the
same order, so a pipeline of threads reads like a pipeline of generators.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from time import perf_counter
from types import TracebackType
from typing import Generic, TypeVar

T = TypeVar("T")

# A wait without a limit cannot be interrupted by Ctrl-C on Windows; waking up twice a second costs nothing.
WAKE_SECONDS = 0.5


def prefetch(source: Iterable[T], depth: int, name: str) -> Prefetch[T]:
    """Run `source` in a thread called `name`, at most `depth` items ahead of the consumer.

        with prefetch(reader, 4, "decode") as batches:
            for batch in batches: ...

    Leaving the `with`, for whatever reason, stops the producer and waits for it. A source that is a generator is closed in
    the producer's thread, so its `finally` blocks run where its body ran. Raises ValueError for a depth below 1.
    """
    return Prefetch(source, depth, name)


class Prefetch(Iterator[T]):
    """The consumer's end. What the source raises is raised here once, after all that it yielded before, with its traceback.

    `consumer_wait_seconds`  spent here waiting for an item: the source is the bottleneck
    `producer_wait_seconds`  spent by the source waiting for room: the consumer is the bottleneck
    """

    def __init__(self, source: Iterable[T], depth: int, name: str) -> None:
        if depth < 1:
            raise ValueError(f"prefetch {name!r}: depth {depth}, must be at least 1")
        self.consumer_wait_seconds = 0.0
        self.producer_wait_seconds = 0.0
        self._depth = depth
        self._items: deque[T] = deque()
        self._changed = threading.Condition()  # guards the deque, _stopping and _ended; the errors are written before _ended
        self._stopping = False
        self._ended = False
        self._error: BaseException | None = None
        self._closing_error: BaseException | None = None
        # Not a daemon: a thread that is killed at exit may hold a half-written file or a decoder's lock.
        self._thread = threading.Thread(target=self._produce, args=(source,), name=name, daemon=False)

    def __enter__(self) -> Prefetch[T]:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        with self._changed:
            self._stopping = True
            self._items.clear()
            self._changed.notify_all()
        self._thread.join()
        if self._closing_error is not None:
            # An error that the source had raised further ahead than we read is dropped: without the thread it would not
            # have happened. One from its clean-up did happen.
            if error is None:
                raise self._closing_error
            error.add_note(f"and closing {self._thread.name!r} failed: {self._closing_error!r}")

    def __iter__(self) -> Prefetch[T]:
        return self

    def __next__(self) -> T:
        if self._thread.ident is None:
            raise RuntimeError(f"prefetch {self._thread.name!r} is not running: use it in a with statement")
        started = perf_counter()
        with self._changed:
            while not self._items and not self._ended:
                self._changed.wait(WAKE_SECONDS)
            self.consumer_wait_seconds += perf_counter() - started
            if self._items:
                self._changed.notify_all()
                return self._items.popleft()
            error, self._error = self._error, None
        if error is None:
            raise StopIteration
        try:
            raise error
        finally:
            del error  # or the traceback and this frame keep each other, and every tensor in them, alive

    def _produce(self, source: Iterable[T]) -> None:
        iterator: Iterator[T] | None = None
        # Errors go straight into attributes: in a local variable they and this frame would keep each other alive.
        try:
            iterator = iter(source)
            for item in iterator:
                if not self._put(item):
                    break
                del item  # not held while the source works on the next one: a batch can be a gigabyte
        except BaseException as raised:  # whatever it is, it belongs to the consumer
            self._error = raised
        try:
            if isinstance(iterator, Generator):
                iterator.close()
        except BaseException as raised:
            self._closing_error = raised
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def _put(self, item: T) -> bool:
        """Wait for room and hand `item` over; False when the consumer has left."""
        started = perf_counter()
        with self._changed:
            while len(self._items) >= self._depth and not self._stopping:
                self._changed.wait(WAKE_SECONDS)
            self.producer_wait_seconds += perf_counter() - started
            if self._stopping:
                return False
            self._items.append(item)
            self._changed.notify_all()
            return True


def deal(source: Iterable[T], hands: int) -> tuple[Iterator[T], ...]:
    """Items of `source` in turn, for as many consumers, each on a thread of its own: item k goes to hand k modulo `hands`.

    Whoever needs an item draws, for the others too. What `source` raises is raised in the hand whose turn it was; the others
    end. Hands hold no more than their consumers lie apart.
    """
    return _Deal(source, hands).hands


class _Deal(Generic[T]):
    def __init__(self, source: Iterable[T], hands: int) -> None:
        self._source = iter(source)
        self._drawn = 0
        self._error: BaseException | None = None
        self._ended = False
        self._lock = threading.Lock()  # guards all above, and the hands
        self._held: tuple[deque[T], ...] = tuple(deque() for _ in range(hands))
        self.hands = tuple(self._hand(number) for number in range(hands))

    def _hand(self, number: int) -> Iterator[T]:
        while True:
            with self._lock:
                while not self._held[number] and not self._ended:
                    self._draw()
                if not self._held[number]:
                    mine = self._drawn % len(self._held) == number
                    error, self._error = (self._error, None) if mine else (None, self._error)
                    if error is None:
                        return
                    raise error
                item = self._held[number].popleft()
            yield item
            del item  # not held while its consumer's next one is awaited

    def _draw(self) -> None:
        try:
            self._held[self._drawn % len(self._held)].append(next(self._source))
            self._drawn += 1
        except StopIteration:
            self._ended = True
        except BaseException as raised:
            self._ended, self._error = True, raised
