"""``fastnn demo``: pages on this machine that draw digits and train a small network.

A server of the standard library that only this machine can reach, and two pages without
any external resource: a network that answers for every piece of a stroke, which is
treated like the images of ``fastnn predict``, and one for two inputs that is trained
while one looks on.

Only the pages, their server and networks live here; nothing imports this folder but the
command line.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import json
import threading
import webbrowser
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import chain
from pathlib import Path
from socket import SHUT_RDWR, socket
from typing import Any
from urllib.parse import parse_qsl

import numpy as np

from fastnn._base.version import __version__
from fastnn._commands.report import network_sizes

from ._model import Recognizer, find_or_train
from ._playground import course

__all__ = ["SIDE", "Server", "demo"]

SIDE = 280  # of the picture that the page sends, in pixels of a byte each
_MOST_CONNECTIONS = 32  # a browser has up to six
_MOST_TRAININGS = 4  # a page has one, and for a moment the one before
_MOST_BYTES = 1 << 18  # of what the playground asks for
_ADDRESS = "127.0.0.1"
_FOLDER = Path(__file__).parent
_PAGES = {"/": "page.html", "/playground": "playground.html"}
_TEXT = "text/plain; charset=utf-8"
# A page needs nothing from elsewhere, and may load nothing.
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
        "img-src data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


def demo(options: argparse.Namespace) -> None:
    """Serve the page as the command line says, until Ctrl-C."""
    if not 0 <= options.port <= 65535:
        raise ValueError(f"--port must be from 0 to 65535, got {options.port}")
    # The port first, so that no training is wasted.
    with Server(options.port) as server:
        path, network = find_or_train(options.model, options.data)
        try:
            server.recognizer = Recognizer(network, options.data)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None
        print(f"model {path}: network {network_sizes(network)}")
        print(f"draw a digit at {server.url} (Ctrl-C ends it)", flush=True)
        if not options.no_browser:
            # A browser may be a program in this terminal: the page must be there first.
            threading.Thread(
                target=webbrowser.open, args=(server.url,), daemon=True
            ).start()
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print("\nended")


class Server(ThreadingHTTPServer):
    """The pages, predictions and trainings, for this machine only; `url` has the port.

    Of the connections, each of which has a thread, the one that has been silent for the
    longest time is closed when there are more than 32; any is after 60 s. Four of them
    may train.
    """

    daemon_threads = True

    def __init__(self, port: int, recognizer: Recognizer | None = None) -> None:
        self.recognizer = recognizer
        style = (_FOLDER / "style.css").read_bytes()
        self.pages = {
            path: (_FOLDER / name).read_bytes().replace(b"/*style*/", style)
            for path, name in _PAGES.items()
        }
        self.trainings = threading.Semaphore(_MOST_TRAININGS)
        self._lock = threading.Lock()
        self._connections: dict[socket, None] = {}  # the longest silent first
        try:
            super().__init__((_ADDRESS, port), _Handler)
        except OSError as error:
            why = "may not be used" if error.errno == errno.EACCES else "is taken"
            if error.errno not in (errno.EACCES, errno.EADDRINUSE):
                raise
            raise OSError(
                f"port {port} {why}: choose another with --port, or --port 0 for any "
                "that is free"
            ) from None
        self.url = f"http://{_ADDRESS}:{self.server_port}/"
        # A foreign page whose name is made to resolve to this machine sends that name.
        self.hosts = {f"{name}:{self.server_port}" for name in (_ADDRESS, "localhost")}
        if self.server_port == 80:  # which browsers leave out
            self.hosts |= {_ADDRESS, "localhost"}

    def process_request(self, request: Any, client_address: Any) -> None:
        self.heard_from(request)
        super().process_request(request, client_address)

    def heard_from(self, connection: socket) -> None:
        """Put a connection last among those to be closed; close the first of many."""
        with self._lock:
            self._connections.pop(connection, None)
            self._connections[connection] = None
            if len(self._connections) <= _MOST_CONNECTIONS:
                return
            silent = next(iter(self._connections))
            del self._connections[silent]
        with contextlib.suppress(OSError):  # it may be closed by now
            silent.shutdown(SHUT_RDWR)  # its thread reads the end, and ends

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._connections.pop(request, None)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore a visitor who leaves in the middle of an answer."""


class _Handler(BaseHTTPRequestHandler):
    """The pages and what they ask for."""

    server: Server
    protocol_version = "HTTP/1.1"
    timeout = 60  # seconds that a silent connection is kept
    server_version = f"fastnn/{__version__}"
    sys_version = ""

    def do_GET(self) -> None:
        if not self._is_from_here():
            return
        if self.path in self.server.pages:
            self._answer(self.server.pages[self.path], "text/html; charset=utf-8")
        elif self.path == "/model":
            self._answer_json(self._recognizer.describe())
        elif self.path == "/examples":
            self._answer_json(self._recognizer.examples)
        else:
            self._refuse(HTTPStatus.NOT_FOUND)

    def do_POST(self) -> None:
        if not self._is_from_here():
            return
        if self.path == "/predict":
            body = self._body(SIDE * SIDE, SIDE * SIDE)  # exactly one picture
            if body is not None:
                ink = np.frombuffer(body, np.uint8).reshape(SIDE, SIDE) / 255
                self._answer_json(self._recognizer.look(ink))
        elif self.path == "/train":
            body = self._body(0, _MOST_BYTES)
            if body is not None:
                self._train(body)
        else:
            self._refuse(HTTPStatus.NOT_FOUND)

    def _body(self, least: int, most: int) -> bytes | None:
        """Return the body, or None if it is refused; a longer one is not even read."""
        length = self.headers.get("Content-Length", "")
        if not length.isascii() or not length.isdigit():
            self._refuse(HTTPStatus.LENGTH_REQUIRED)
        elif len(length) > 9 or int(length) > most:
            self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        elif int(length) < least:
            self._refuse(HTTPStatus.BAD_REQUEST)
        else:
            body = self.rfile.read(int(length))
            if len(body) == int(length):  # else the visitor has gone
                return body
        return None

    def _train(self, body: bytes) -> None:
        """Answer with lines of JSON while a network trains, until nobody reads them."""
        try:
            form = parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=9)
            shown = course(dict(form))
            first = next(shown)
        except (TypeError, ValueError) as error:
            self._answer(" ".join(str(error).split()).encode(), _TEXT, 400)
            return
        if not self.server.trainings.acquire(blocking=False):
            self._answer(b"too many trainings at once", _TEXT, 503)
            return
        try:
            self.close_connection = True  # which ends the answer
            self._head(200, "application/x-ndjson", Connection="close")
            for value in chain([first], shown):
                self.server.heard_from(self.connection)
                self.wfile.write(json.dumps(value).encode() + b"\n")
        finally:
            self.server.trainings.release()

    @property
    def _recognizer(self) -> Recognizer:
        assert self.server.recognizer is not None
        return self.server.recognizer

    def _is_from_here(self) -> bool:
        self.server.heard_from(self.connection)
        hosts = self.headers.get_all("Host", [])
        origins = self.headers.get_all("Origin", [])
        own = {f"http://{host}" for host in self.server.hosts}
        if (
            len(hosts) == 1
            and hosts[0].lower() in self.server.hosts
            and all(origin.lower() in own for origin in origins)
        ):
            return True
        self._refuse(HTTPStatus.FORBIDDEN)
        return False

    def _answer_json(self, value: Any) -> None:
        self._answer(json.dumps(value).encode(), "application/json")

    def _answer(self, content: bytes, kind: str, status: int = 200) -> None:
        self._head(status, kind, Content_Length=str(len(content)))
        self.wfile.write(content)

    def _head(self, status: int, kind: str, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": kind, **headers, **_HEADERS}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def _refuse(self, status: HTTPStatus) -> None:
        self.close_connection = True  # there may be an unread body
        self.send_error(status)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Keep the terminal quiet."""
