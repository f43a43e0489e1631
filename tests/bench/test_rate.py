"""`vsr rate` as a rater and as an intruder meet it: a real server, spoken to by HTTP."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPException
from pathlib import Path

import pytest

from tests.bench.studies import IMAGES, METHODS, Client, serving, write_study
from vsr.bench.opinions import read_log
from vsr.bench.rate import MAX_BODY_BYTES, RatingServer, serve
from vsr.bench.session import Session
from vsr.bench.study import open_study
from vsr.errors import ConfigError, EncodeError

TOTAL = len(IMAGES) * len(METHODS) + 2  # a tenth of 12, rounded up, comes twice
ROOT = Path(__file__).parents[2]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_study(tmp_path / "study")


@pytest.fixture
def server(folder: Path) -> Iterator[RatingServer]:
    with serving(folder) as server:
        yield server


@pytest.fixture
def client(server: RatingServer) -> Client:
    return Client(server.url)


def test_a_whole_session(folder: Path, server: RatingServer, client: Client) -> None:
    state = client.state()
    assert (state["total"], state["done"], state["calibrated"]) == (TOTAL, 0, False)
    assert [example["score"] for example in state["calibration"]] == [1, 5] * len(IMAGES)
    for example in state["calibration"]:
        assert client.ask(example["src"])[1].startswith(b"\x89PNG")
    assert client.ask("calibrated", {})[0] == 200
    state = client.state()
    assert state["calibrated"]
    for number in range(TOTAL):
        assert state["done"] == number
        assert client.ask(state["trial"]["src"])[1].startswith(b"\x89PNG")
        state = client.rate(1 + number % 5, state)
    assert (state["done"], state["trial"], state["after"]) == (TOTAL, None, None)
    ratings = read_log(folder / "ratings.jsonl").ratings
    assert [rating.score for rating in ratings] == [1 + number % 5 for number in range(TOTAL)]
    assert [rating.trial for rating in ratings] == list(server.session.trials)
    assert {rating.seconds for rating in ratings} == {1.25}


def test_the_server_ends_when_all_is_rated(folder: Path) -> None:
    session = Session(open_study(folder), folder / "ratings.jsonl", "anna", 0)

    def rate_all(url: str) -> None:
        def work() -> None:
            client = Client(url)
            for _ in range(TOTAL):
                client.rate(3)

        threading.Thread(target=work).start()

    serve(session, 0, rate_all)
    assert session.finished


def test_nothing_tells_a_method(server: RatingServer, client: Client) -> None:
    """Neither the page, nor what it is told, nor an address, in any state of a session; and a repeat has a name of its own."""
    names = re.compile(rf"\b({'|'.join([*METHODS, *IMAGES])})\b".encode(), re.IGNORECASE)
    assert not names.search(client.ask("")[1])
    seen = []
    for _ in range(TOTAL - 1):
        body = client.ask("state")[1]
        assert not names.search(body)
        state = json.loads(body)
        seen.append(state["trial"]["src"])
        client.rate(4, state)
    assert len(set(seen)) == TOTAL - 1
    other = Session(server.session.study, server.session.log, "anna", 1)
    assert not set(other._ids) & set(server.session._ids)


@pytest.mark.parametrize("host", ["evil.example", "evil.example:{port}", "127.0.0.1", "127.0.0.1:1", "[::1]:{port}", ""])
def test_another_host_is_refused(server: RatingServer, client: Client, host: str) -> None:
    """A site whose name is made to lead to 127.0.0.1 sends its own name."""
    assert client.ask("state", headers={"Host": host.format(port=server.server_port)})[0] == 403
    assert client.ask("state", headers={"Host": f"localhost:{server.server_port}"})[0] == 200


def test_two_hosts_or_none_are_refused(server: RatingServer) -> None:
    for hosts in ([], [server.hosts[0], "evil.example"], [server.hosts[0]] * 2):
        connection = HTTPConnection("127.0.0.1", server.server_port, timeout=30)
        connection.putrequest("GET", f"/{server.token}/state", skip_host=True)
        for host in hosts:
            connection.putheader("Host", host)
        connection.endheaders()
        answer = connection.getresponse()
        assert answer.status == 403
        answer.read()
        connection.close()


@pytest.mark.parametrize("path", ["", "state", "wrong/state", "%2e%2e/state", "/", "\u00e9/".encode("unicode_escape").decode()])
def test_a_wrong_token_is_refused(server: RatingServer, client: Client, path: str) -> None:
    base = f"http://127.0.0.1:{server.server_port}/"
    assert client.ask(path, url=base)[0] == 403
    assert client.ask(f"{server.token[:-1]}/state", url=base)[0] == 403
    assert client.ask(f"{server.token}x/state", {}, url=base)[0] == 403
    assert client.ask(server.token, url=base)[0] == 404


def test_another_page_s_requests_are_refused(client: Client, server: RatingServer) -> None:
    assert client.ask("state", headers={"Origin": "http://evil.example"})[0] == 403
    assert client.ask("calibrated", {}, headers={"Origin": "null"})[0] == 403
    assert client.ask("calibrated", {}, headers={"Origin": f"http://127.0.0.1:{server.server_port}"})[0] == 200
    assert client.ask("calibrated", b"{}", headers={"Content-Type": "text/plain"})[0] == 415


@pytest.mark.parametrize(
    "path",
    [
        "../ratings.jsonl",
        "picture/../../ratings.jsonl",
        "picture/..%2f..%2fHR%2fbaby.png",
        "picture/HR/baby.png",
        "picture/baby.png",
        *("picture//etc/passwd", "ratings.jsonl", "picture/", "picture/.png", "state/", "rating", "page/rate.js"),
    ],
)
def test_only_what_is_listed_is_served(client: Client, path: str) -> None:
    assert client.ask(path)[0] == 404


def test_headers_keep_the_browser_in(server: RatingServer, client: Client) -> None:
    with client.opener.open(server.url, timeout=30) as answer:
        headers = answer.headers
        page = answer.read().decode()
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "connect-src 'self'" in policy and "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert headers["Cache-Control"] == "no-store"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert not any(name.lower().startswith("access-control") for name in headers)
    assert "http://" not in page and "https://" not in page


@pytest.mark.parametrize(
    "change",
    [
        *({"score": score} for score in (0, 6, "3", 3.5, True, None)),
        *({"id": name} for name in ("x", None, ["x"])),
        *({"seconds": seconds} for seconds in (-1, "1", None)),
    ],
)
def test_a_wrong_rating_is_refused(folder: Path, client: Client, change: dict[str, object]) -> None:
    good = {"id": client.state()["trial"]["id"], "score": 3, "seconds": 1}
    assert client.ask("rating", good | change)[0] == 400
    assert read_log(folder / "ratings.jsonl").ratings == []


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"7", b"\xff", b"[" * 3000])
def test_what_is_no_json_object_is_refused(client: Client, body: bytes) -> None:
    assert client.ask("rating", body)[0] == 400


def test_a_large_body_is_refused(client: Client) -> None:
    assert client.ask("rating", b" " * (MAX_BODY_BYTES + 1))[0] == 413
    assert client.ask("rating", b" " * (10 * MAX_BODY_BYTES))[0] == 413
    assert client.ask("rating", b"{}", headers={"Content-Length": "-1"})[0] == 411


def test_a_second_answer_to_a_picture_does_not_count(folder: Path, client: Client) -> None:
    state = client.state()
    client.rate(2, state)
    assert client.rate(5, state)["done"] == 1
    assert [rating.score for rating in read_log(folder / "ratings.jsonl").ratings] == [2]
    assert len((folder / "ratings.jsonl").read_text(encoding="utf-8").splitlines()) == 1


def test_pictures_are_rated_in_their_order(client: Client) -> None:
    state = client.state()
    later = state["after"].removeprefix("picture/").removesuffix(".png")
    assert client.ask("rating", {"id": later, "score": 3, "seconds": 1})[0] == 409


def test_four_windows_at_once_keep_one_rating_of_a_picture(folder: Path, server: RatingServer) -> None:
    """All answer the same picture at the same moment, one after the other until all but one are rated."""
    together = threading.Barrier(4)

    def work(score: int) -> None:
        client = Client(server.url)
        for _ in range(TOTAL - 1):
            due = client.state()["trial"]
            together.wait(30)
            client.ask("rating", {"id": due["id"], "score": score, "seconds": 1})
            together.wait(30)

    threads = [threading.Thread(target=work, args=(1 + number % 5,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lines = (folder / "ratings.jsonl").read_text(encoding="utf-8").splitlines()
    log = read_log(folder / "ratings.jsonl")
    assert log.unreadable == 0
    assert len(lines) == len(log.ratings) == server.session.done == TOTAL - 1


def test_the_same_rater_goes_on_and_another_begins(folder: Path, client: Client) -> None:
    client.rate(4)
    client.rate(4)
    study, log = open_study(folder), folder / "ratings.jsonl"
    again = Session(study, log, "anna", 0)
    assert (again.done, again.state()["done"]) == (2, 2)
    assert Session(study, log, "anna", 1).done == 0
    assert Session(study, log, "ben", 0).done == 0


def test_a_picture_that_was_made_anew_is_rated_anew(folder: Path, client: Client) -> None:
    client.rate(4)
    (rating,) = read_log(folder / "ratings.jsonl").ratings
    other = next(name for name in METHODS if name != rating.method)
    path = folder / rating.method / f"{rating.image}.png"
    path.write_bytes((folder / other / f"{rating.image}.png").read_bytes())
    assert Session(open_study(folder), folder / "ratings.jsonl", "anna", 0).done == 0


def test_a_log_that_cannot_grow_ends_it_with_the_reason(folder: Path) -> None:
    """The rater is told that it cannot go on, and no file's name; the command fails by name."""
    session = Session(open_study(folder), folder / "ratings.jsonl", "anna", 0)
    answers: list[tuple[int, bytes]] = []

    def rate_one(url: str) -> None:
        def work() -> None:
            client = Client(url)
            due = client.state()["trial"]
            session.log.mkdir()
            answers.append(client.ask("rating", {"id": due["id"], "score": 3, "seconds": 1}))

        threading.Thread(target=work).start()

    with pytest.raises((EncodeError, ConfigError), match=r"ratings\.jsonl"):
        serve(session, 0, rate_one)
    ((status, body),) = answers
    assert status == 500 and b"ratings" not in body


def test_a_port_in_use_is_said(folder: Path, server: RatingServer) -> None:
    with pytest.raises(ConfigError, match=f"--port {server.server_port}: cannot be used"):
        serve(server.session, server.server_port, lambda url: None)


# ---- the command ----------------------------------------------------------------------------------------------------


class Command:
    """`vsr rate` in a process of its own, up to its address."""

    def __init__(self, folder: Path, *options: str) -> None:
        # a test run in the background ignores interrupts, and so would the command
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "vsr", "rate", str(folder), "--rater", "anna", *options],
                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT, env={**os.environ, "PYTHONUNBUFFERED": "1"},
            )  # fmt: skip
        finally:
            signal.signal(signal.SIGINT, before)
        assert self.process.stdout
        self.said = []
        for line in self.process.stdout:
            self.said.append(line.strip())
            if line.startswith("http://"):
                break
        self.client = Client(self.said[-1])

    def end(self, number: int | None = None) -> tuple[int, str]:
        """Exit code, and what was said on standard error."""
        if number is not None:
            self.process.send_signal(number)
        _, err = self.process.communicate(timeout=60)
        return self.process.returncode, err


def test_kill_9_loses_nothing_that_was_answered(folder: Path) -> None:
    """Killed while ratings come one after the other; then the same command goes on to the end."""
    command = Command(folder)
    acknowledged: list[int] = []

    def work() -> None:
        try:
            while len(acknowledged) < TOTAL:
                acknowledged.append(command.client.rate(3)["done"])
        except (OSError, HTTPException, ValueError):  # gone in the middle
            return

    thread = threading.Thread(target=work)
    thread.start()
    while len(acknowledged) < 4 and thread.is_alive():
        pass
    assert command.end(signal.SIGKILL)[0] in (-signal.SIGKILL, 0)
    thread.join()
    log = folder / "ratings.jsonl"
    kept = len(read_log(log).ratings)
    assert len(acknowledged) <= kept <= len(acknowledged) + 1
    with log.open("ab") as file:  # as if the next had been cut short
        file.write(b'{"format": 1, "kind": "rat')
    if kept < TOTAL:
        command = Command(folder)
        assert f"anna: {kept} of {TOTAL} rated" in " ".join(command.said)
        for _ in range(TOTAL - kept):
            command.client.rate(5)
        assert command.end() == (0, "")
    found = read_log(log)
    assert len(found.ratings) == TOTAL and found.unreadable == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_says_what_is_kept(folder: Path, number: int) -> None:
    command = Command(folder)
    command.client.rate(2)
    code, err = command.end(number)
    assert code == 130
    assert re.fullmatch(
        rf"vsr: interrupted; 1 of {TOTAL} ratings by anna are kept in .*ratings\.jsonl; the same command goes on\n", err
    )
    assert len(read_log(folder / "ratings.jsonl").ratings) == 1
