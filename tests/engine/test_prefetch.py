"""The thread between two stages: order, exceptions, leaving early, and no thread left behind."""

from __future__ import annotations

import contextlib
import gc
import signal
import threading
import time
import traceback
import weakref
from collections.abc import Iterator

import pytest

from vsr.engine.prefetch import prefetch

NAME = "stage under test"


@pytest.fixture(autouse=True)
def no_thread_left() -> Iterator[None]:
    yield
    assert NAME not in [thread.name for thread in threading.enumerate()]


class Source:
    """Counts up, and remembers where its body and its clean-up ran."""

    def __init__(self, count: int, fail_at: int | None = None, fail_in_cleanup: bool = False) -> None:
        self.count, self.fail_at, self.fail_in_cleanup = count, fail_at, fail_in_cleanup
        self.made = 0
        self.threads: list[str] = []
        self.cleanups: list[str] = []

    def items(self) -> Iterator[int]:
        try:
            for number in range(self.count):
                self.threads.append(threading.current_thread().name)
                if number == self.fail_at:
                    raise OSError("the disk is gone")
                self.made += 1
                yield number
        finally:
            self.cleanups.append(threading.current_thread().name)
            if self.fail_in_cleanup:
                raise OSError("cannot close")


def wait_until(condition: object, seconds: float = 5.0) -> None:
    assert callable(condition)
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "never happened"
        time.sleep(0.001)


def test_everything_arrives_in_order_from_another_thread() -> None:
    source = Source(200)
    with prefetch(source.items(), 3, NAME) as items:
        assert list(items) == list(range(200))
        assert list(items) == []
    assert set(source.threads) == {NAME}
    assert source.cleanups == [NAME]


def test_it_runs_ahead_by_depth_and_no_further() -> None:
    source = Source(100)
    with prefetch(source.items(), 4, NAME) as items:
        assert next(items) == 0
        wait_until(lambda: source.made == 6)  # one taken, four in the queue, one in the producer's hand
        time.sleep(0.05)
        assert source.made == 6


def test_the_error_comes_after_all_items_before_it_and_only_once() -> None:
    source = Source(10, fail_at=5)
    with prefetch(source.items(), 2, NAME) as items:
        seen: list[int] = []
        with pytest.raises(OSError, match="the disk is gone") as caught:
            seen.extend(items)
        assert seen == [0, 1, 2, 3, 4]
        assert list(items) == []
    frames = [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]
    assert "items" in frames  # where it was raised, in the other thread


def test_an_error_when_iteration_begins_arrives_too() -> None:
    class Broken:
        def __iter__(self) -> Iterator[int]:
            raise OSError("no such file")

    with prefetch(Broken(), 1, NAME) as items, pytest.raises(OSError, match="no such file"):
        next(items)


def test_leaving_early_frees_a_producer_that_is_blocked_on_a_full_queue() -> None:
    source = Source(1000)
    with prefetch(source.items(), 2, NAME) as items:
        assert next(items) == 0
        wait_until(lambda: source.made == 4)
    assert source.cleanups == [NAME]  # closed, and in the thread that ran it
    assert source.made == 4


def test_leaving_without_reading_anything() -> None:
    source = Source(1000)
    with prefetch(source.items(), 1, NAME):
        pass
    assert source.made <= 2


def test_leaving_by_an_exception_keeps_that_exception() -> None:
    source = Source(1000)
    with pytest.raises(ZeroDivisionError), prefetch(source.items(), 2, NAME) as items:
        next(items)
        raise ZeroDivisionError
    assert source.cleanups == [NAME]


def test_an_error_ahead_of_what_was_read_is_dropped_on_leaving() -> None:
    source = Source(10, fail_at=2)
    with prefetch(source.items(), 8, NAME) as items:
        assert next(items) == 0
        wait_until(lambda: source.cleanups)


def test_an_error_in_the_clean_up_is_raised_on_leaving() -> None:
    source = Source(10, fail_in_cleanup=True)
    with pytest.raises(OSError, match="cannot close"), prefetch(source.items(), 1, NAME) as items:
        next(items)


def test_an_error_in_the_clean_up_is_noted_on_the_one_that_is_on_its_way() -> None:
    source = Source(10, fail_in_cleanup=True)
    with pytest.raises(ZeroDivisionError) as caught, prefetch(source.items(), 1, NAME) as items:
        next(items)
        raise ZeroDivisionError
    assert any("cannot close" in note for note in caught.value.__notes__)


def test_keyboard_interrupt_while_the_consumer_waits() -> None:
    import _thread

    # a shell without job control starts background commands with Ctrl-C ignored
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    released = threading.Event()

    def stuck() -> Iterator[int]:
        yield 1
        threading.Timer(0.05, _thread.interrupt_main).start()
        released.wait(5)
        yield 2

    started = time.monotonic()
    try:
        with pytest.raises(KeyboardInterrupt), prefetch(stuck(), 1, NAME) as items:
            try:
                list(items)
            finally:
                released.set()
    finally:
        signal.signal(signal.SIGINT, before)
    assert time.monotonic() - started < 4


def test_stages_chain_and_all_stop() -> None:
    first, names = Source(1000), (NAME, NAME)

    def double(numbers: Iterator[int]) -> Iterator[int]:
        for number in numbers:
            yield 2 * number

    with prefetch(first.items(), 2, names[0]) as numbers, prefetch(double(numbers), 2, names[1]) as doubled:
        assert [next(doubled) for _ in range(5)] == [0, 2, 4, 6, 8]
    assert first.cleanups == [NAME]


def test_an_error_passes_through_two_stages() -> None:
    first = Source(10, fail_at=3)

    def double(numbers: Iterator[int]) -> Iterator[int]:
        for number in numbers:
            yield 2 * number

    seen: list[int] = []
    with prefetch(first.items(), 2, NAME) as numbers, prefetch(double(numbers), 2, NAME) as doubled, pytest.raises(OSError):
        seen.extend(doubled)
    assert seen == [0, 2, 4]


def test_it_says_who_waits_for_whom() -> None:
    def slow() -> Iterator[int]:
        for number in range(5):
            time.sleep(0.02)
            yield number

    with prefetch(slow(), 2, NAME) as items:
        list(items)
    assert items.consumer_wait_seconds > 0.05
    assert items.producer_wait_seconds < 0.05

    with prefetch(range(5), 1, NAME) as items:
        for _ in items:
            time.sleep(0.02)
    assert items.producer_wait_seconds > 0.04
    assert items.consumer_wait_seconds < 0.04


def test_items_are_not_kept_alive_once_taken() -> None:
    class Heavy:
        pass

    def source() -> Iterator[Heavy]:
        for _ in range(3):
            yield Heavy()
        checked.wait(5)  # the source is busy with the next one

    checked = threading.Event()
    with prefetch(source(), 3, NAME) as items:
        try:
            gone = [weakref.ref(next(items)) for _ in range(3)]
            wait_until(lambda: all(item() is None for item in gone), 2)
        finally:
            checked.set()


def test_an_error_does_not_keep_the_items_of_its_frames_alive() -> None:
    class Heavy:
        pass

    def source() -> Iterator[int]:
        heavy.append(weakref.ref(local := Heavy()))
        yield 1
        raise OSError(str(local))

    heavy: list[weakref.ref[Heavy]] = []
    gc.disable()
    try:
        with prefetch(source(), 1, NAME) as items:
            assert next(items) == 1
            with contextlib.suppress(OSError):
                next(items)
        assert heavy[0]() is None
    finally:
        gc.enable()


def test_misuse_is_refused() -> None:
    with pytest.raises(ValueError, match="depth 0"):
        prefetch([], 0, NAME)
    with pytest.raises(RuntimeError, match="with statement"):
        next(prefetch([1], 1, NAME))
