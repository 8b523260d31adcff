"""hypercorn, a server in Python that speaks HTTP/2, with an application of the test's own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from hypercorn.asyncio import serve
from hypercorn.config import Config

from .tools import accepts, free_port, wait_until

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Application = Callable[[dict[str, Any], Receive, Send], Awaitable[None]]


class Hypercorn:
    """A running server; `url` is where."""

    def __init__(self, application: Application, certificate: Path, key: Path) -> None:
        self.port = free_port()
        self.url = f"https://localhost:{self.port}"
        config = Config()
        config.bind = [f"127.0.0.1:{self.port}"]
        config.certfile, config.keyfile = str(certificate), str(key)
        config.loglevel = "CRITICAL"
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(
            target=lambda: self._loop.run_until_complete(serve(application, config, shutdown_trigger=self._stop.wait))  # type: ignore[arg-type]
        )

    def __enter__(self) -> Hypercorn:
        self._thread.start()
        wait_until(lambda: accepts(self.port), "hypercorn listens")
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(20)


async def respond(send: Send, body: bytes, kind: bytes = b"text/html", *, more: bool = False) -> None:
    """A response, or with `more` its beginning."""
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", kind)]})
    await send({"type": "http.response.body", "body": body, "more_body": more})
