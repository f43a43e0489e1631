"""The rating page on this machine: a server for one rater, reachable from nowhere else.

It listens on 127.0.0.1, answers only under an address with a random token, only to requests that name it by this address (a page
of another site that had its name resolve to 127.0.0.1 does not), and hands out only pictures that it has itself named. No file
name comes from a request.
"""

from __future__ import annotations

import json
import secrets
import socketserver
import sys
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from vsr.bench.opinions import locked
from vsr.bench.rate_page import rate_page
from vsr.bench.session import Refused, Session
from vsr.errors import ConfigError, Interrupted, VsrError

ADDRESS = "127.0.0.1"
MAX_BODY_BYTES = 4096
SECONDS_TO_SPEAK = 30  # a connection that says nothing is closed after that
ELSEWHERE = "It cannot go on: the window in which vsr rate runs says why."


class RatingServer(ThreadingHTTPServer):
    """One page for one session; `failure` is why it ended, if it had to."""

    daemon_threads = True

    def __init__(self, session: Session, port: int) -> None:
        self.session = session
        self.token = secrets.token_urlsafe(24)
        self.page, policy = rate_page(None)
        self.policy = f"{policy}; frame-ancestors 'none'"
        self.failure: Exception | None = None
        super().__init__((ADDRESS, port), RatingHandler)

    def server_bind(self) -> None:
        socketserver.TCPServer.server_bind(self)  # HTTPServer's would ask the name service what 127.0.0.1 is called
        self.server_name, self.server_port = ADDRESS, self.server_address[1]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that hangs up is no news; anything else ends the program by its name."""
        exc = sys.exception()
        if isinstance(exc, Exception) and not isinstance(exc, OSError):
            self.failure = exc
            self.shutdown()

    @property
    def url(self) -> str:
        return f"http://{ADDRESS}:{self.server_port}/{self.token}/"

    @property
    def hosts(self) -> tuple[str, ...]:
        """What requests may call this server."""
        return f"{ADDRESS}:{self.server_port}", f"localhost:{self.server_port}"


class RatingHandler(BaseHTTPRequestHandler):
    """One request."""

    server: RatingServer
    timeout = SECONDS_TO_SPEAK
    server_version, sys_version = "vsr", ""

    def do_GET(self) -> None:
        self._answer(self._get)

    def do_POST(self) -> None:
        self._answer(self._post)

    def _answer(self, work: Callable[[str], tuple[str, bytes]]) -> None:
        try:
            status, (kind, body) = HTTPStatus.OK, work(self._asked())
        except Refused as exc:
            status, kind, body = exc.status, "application/json", json.dumps({"error": str(exc)}).encode()
        except VsrError as exc:  # its text names files, and so methods: not for the rater's eyes
            self.server.failure = exc
            status, kind, body = HTTPStatus.INTERNAL_SERVER_ERROR, "application/json", json.dumps({"error": ELSEWHERE}).encode()
        self.send_response(status)
        headers = {
            "Content-Type": kind,
            "Content-Length": str(len(body)),
            # a picture is asked for ahead, and once more when it is shown; its name is of this run alone
            "Cache-Control": "private, max-age=600" if kind == "image/png" else "no-store",
            "Content-Security-Policy": self.server.policy,
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
            "Cross-Origin-Resource-Policy": "same-origin",
        }
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
        if self.server.failure or self.server.session.finished:
            self.wfile.flush()
            self.server.shutdown()

    def _asked(self) -> str:
        """What stands behind the token. Raises Refused for every request that did not come from the page's own address."""
        if self.headers.get_all("Host") not in [[host] for host in self.server.hosts]:
            raise Refused(HTTPStatus.FORBIDDEN, "This is not the address that the program printed.")
        origin = self.headers.get("Origin")
        if origin is not None and origin not in {f"http://{host}" for host in self.server.hosts}:
            raise Refused(HTTPStatus.FORBIDDEN, "Another page may not ask.")
        _, token, *rest = (*self.path.split("/", 2), "", "")
        if not secrets.compare_digest(token.encode(), self.server.token.encode()):
            raise Refused(HTTPStatus.FORBIDDEN, "This is not the address that the program printed.")
        if not self.path.startswith(f"/{self.server.token}/"):  # the page's own addresses are relative to that
            raise Refused(HTTPStatus.NOT_FOUND, "The address ends with a slash.")
        return rest[0]

    def _get(self, asked: str) -> tuple[str, bytes]:
        if asked == "":
            return "text/html; charset=utf-8", self.server.page.encode()
        if asked == "state":
            return self._state()
        if asked.startswith("picture/") and asked.endswith(".png"):
            return "image/png", self.server.session.picture(asked.removeprefix("picture/").removesuffix(".png"))
        raise Refused(HTTPStatus.NOT_FOUND, "There is nothing here.")

    def _post(self, asked: str) -> tuple[str, bytes]:
        content = self._body()
        if asked == "calibrated":
            self.server.session.calibrate()
        elif asked == "rating":
            self.server.session.rate(content.get("id"), content.get("score"), content.get("seconds"))
        else:
            raise Refused(HTTPStatus.NOT_FOUND, "There is nothing here.")
        return self._state()

    def _state(self) -> tuple[str, bytes]:
        return "application/json", json.dumps(self.server.session.state()).encode()

    def _body(self) -> dict[str, Any]:
        length = self.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdigit()):
            raise Refused(HTTPStatus.LENGTH_REQUIRED, "The length is absent.")
        if len(length) > 9 or int(length) > MAX_BODY_BYTES:
            self.rfile.read(min(int(length[:9]), 16 * MAX_BODY_BYTES))  # unread, it would take the answer away with it
            raise Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "That is too much.")
        data = self.rfile.read(int(length))
        if self.headers.get_content_type() != "application/json":
            raise Refused(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "That is not JSON.")
        try:
            content = json.loads(data)
        except (ValueError, RecursionError) as exc:
            raise Refused(HTTPStatus.BAD_REQUEST, "That is not JSON.") from exc
        if not isinstance(content, dict):
            raise Refused(HTTPStatus.BAD_REQUEST, "That is not an object.")
        return content

    def log_message(self, format: str, *args: Any) -> None:
        """Requests are not news either."""


def serve(session: Session, port: int, on_ready: Callable[[str], None]) -> None:
    """Serves until every picture is rated; `on_ready` gets the address. Raises Interrupted, which says what is kept; VsrError."""
    try:
        server = RatingServer(session, port)
    except OSError as exc:
        raise ConfigError(
            f"--port {port}: cannot be used ({exc.strerror}); choose another, or leave it out for a free one"
        ) from exc
    try:
        with server:
            on_ready(server.url)
            server.serve_forever()
    except KeyboardInterrupt as exc:
        with locked(session.log):  # what is being written is written
            raise Interrupted(
                f"{session.done} of {len(session.trials)} ratings by {session.rater} are kept in {session.log}; "
                "the same command goes on"
            ) from exc
    if server.failure is not None:
        raise server.failure
