"""The smallest HTTP tracker that real clients accept (BEP 3, 23), which remembers every announce.

Deliberately not swarm's own: it judges swarm as it judges the others.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote_to_bytes

CLOSING = 0.1  # seconds that closing may take
INTERVAL = 5  # seconds; a client that comes late or comes back is seen soon


Endpoint = tuple[str, int]
"""The address that an announce came from, and the port that it named."""


@dataclass(frozen=True)
class Announce:
    """One announce as it came in; `at` is in seconds of `time.monotonic`."""

    at: float
    address: str
    port: int
    event: str
    left: int

    @property
    def endpoint(self) -> Endpoint:
        """Where who announced can be reached."""
        return self.address, self.port


class Tracker:
    """Serves announces on a listening socket until closed, from threads of this process."""

    def __init__(self, listener: socket.socket) -> None:
        host, port = listener.getsockname()[:2]
        self.url = f"http://{host}:{port}/announce"
        self.announces: list[Announce] = []
        self.heard: Callable[[Announce], object] | None = None
        """Called with each announce, before its answer is made, which waits for it."""
        self.introduces: Callable[[Endpoint, Endpoint], bool] = lambda asking, other: True
        """Whether the first is told of the second."""
        self._swarms: dict[bytes, dict[Endpoint, None]] = {}
        self._news = threading.Condition()
        self._server = _Server(listener, self)
        serve = self._server.serve_forever
        threading.Thread(target=serve, args=[CLOSING], daemon=True).start()

    def close(self) -> None:
        """Stops serving and closes the socket."""
        self._server.shutdown()
        self._server.server_close()

    def find(self, address: str, event: str, *, nth: int = 1) -> Announce | None:
        """The nth announce of `event` from `address`, if it has come; event `*` is any."""
        found = [a for a in self.announces if a.address == address and event in ("*", a.event)]
        return found[nth - 1] if len(found) >= nth else None

    def wait(self, address: str, event: str, timeout: float, *, nth: int = 1) -> Announce | None:
        """The same, waiting up to `timeout` seconds for it."""
        with self._news:
            self._news.wait_for(lambda: self.find(address, event, nth=nth), timeout)
        return self.find(address, event, nth=nth)

    def seeds(self, endpoint: Endpoint) -> bool:
        """Whether who announced from there has said that it lacks nothing."""
        return any(a.endpoint == endpoint and a.left == 0 for a in self.announces)

    def _answer(self, address: str, query: dict[str, bytes]) -> bytes:
        at, event = time.monotonic(), query.get("event", b"").decode()
        announce = Announce(at, address, int(query["port"]), event, int(query["left"]))
        peer = announce.endpoint
        if self.heard:
            self.heard(announce)
        with self._news:
            swarm = self._swarms.setdefault(query["info_hash"], {})
            swarm[peer] = None
            if announce.event == "stopped":
                del swarm[peer]
            self.announces.append(announce)
            self._news.notify_all()
            others = [other for other in swarm if other != peer and self.introduces(peer, other)]
        compact = b"".join(socket.inet_aton(ip) + port.to_bytes(2) for ip, port in others)
        head = b"d8:intervali%de12:min intervali%de5:peers%d:" % (INTERVAL, INTERVAL, len(compact))
        return head + compact + b"e"


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, listener: socket.socket, tracker: Tracker) -> None:
        super().__init__(listener.getsockname(), _Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listener
        self.tracker = tracker

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that leaves without waiting for its answer is its own business."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        path, _, text = self.path.partition("?")
        if path != "/announce":
            self.send_error(404)
            return
        pairs = (pair.partition("=") for pair in text.split("&"))
        query = {key: unquote_to_bytes(value) for key, _, value in pairs}
        body = self.server.tracker._answer(self.client_address[0], query)
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass
