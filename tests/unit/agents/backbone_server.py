"""A small real HTTP server that plays the backbone by a list of replies, and remembers what it was asked."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Reply:
    """What is answered: text of the assistant, or a status with a body of its own; ``hold`` is waited for before."""

    text: str = ""
    status: int = 200
    body: Any = None
    stop: str = "stop"
    usage: tuple[int, int] | None = (100, 20)
    raw: bytes | None = None
    hold: threading.Event | None = None
    drip: bool = False
    hang_up: bool = False

    def bytes(self) -> bytes:
        """The body."""
        if self.raw is not None:
            return self.raw
        if self.body is not None:
            return json.dumps(self.body).encode()
        choice = {"index": 0, "message": {"role": "assistant", "content": self.text}, "finish_reason": self.stop}
        usage = {"usage": {"prompt_tokens": self.usage[0], "completion_tokens": self.usage[1]}} if self.usage else {}
        return json.dumps({"object": "chat.completion", "choices": [choice], **usage}).encode()


def refused(status: int, code: str, message: str = "no") -> Reply:
    """An error as OpenAI's API tells it."""
    return Reply(status=status, body={"error": {"message": message, "type": "t", "param": None, "code": code}})


# a reply, or what makes one of a request's body
Scripted = Reply | Callable[[dict[str, Any]], Reply]


@dataclass
class Server:
    """A running server: its address, what comes next (the last reply again and again), and what it was asked."""

    url: str
    replies: list[Scripted] = field(default_factory=list)
    asked: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)

    def next(self, body: dict[str, Any]) -> Reply:
        """The reply whose turn it is."""
        turn = self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]
        return turn if isinstance(turn, Reply) else turn(body)


@contextmanager
def serving(*replies: Scripted | str) -> Iterator[Server]:
    """Serve on a free port until the block ends; plain text is a reply with it."""
    told: list[Server] = []
    over = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            server = told[0]
            server.asked.append({"path": self.path, **body})
            server.keys.append(self.headers.get("authorization", ""))
            reply = server.next(body)
            if reply.hold is not None:
                reply.hold.wait(20)
            if reply.hang_up:
                self.close_connection = True
                return
            data = reply.bytes()
            self.send_response(reply.status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(data) + reply.drip * 1000))
            self.end_headers()
            try:
                self.wfile.write(data)
                while reply.drip and not over.wait(0.02):
                    self.wfile.write(b" ")
            except OSError:
                return  # the client has left

        def log_message(self, *_: Any) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.daemon_threads = True
    listed = [Reply(r) if isinstance(r, str) else r for r in replies]
    told.append(Server(f"http://127.0.0.1:{http.server_address[1]}/v1", listed))
    thread = threading.Thread(target=http.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield told[0]
    finally:
        over.set()
        http.shutdown()
        http.server_close()
        thread.join()
