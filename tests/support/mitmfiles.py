"""mitmproxy's flow files for tests: made by hand, and read."""

from __future__ import annotations

from io import BufferedReader, BytesIO, RawIOBase
from typing import TYPE_CHECKING, Any

from support.flowfiles import value

from mitmdump.formats.mitmproxy import MitmproxyEncoder, MitmproxyReader
from mitmdump.formats.mitmproxy.tnetstring import dump
from mitmdump.model.flow import Flow

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

CONNECTION: dict[str, Any] = {"id": "c0", "peername": ["127.0.0.1", 50000], "timestamp_start": 1.0}


class Pipe(RawIOBase):
    """A file that can be read only once, a few bytes at a time."""

    def __init__(self, data: bytes, step: int = 1000) -> None:
        self._file = BytesIO(data)
        self._step = step

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        view = memoryview(buffer).cast("B")
        data = self._file.read(min(len(view), self._step))
        view[: len(data)] = data
        return len(data)


def packed(value: Any) -> bytes:
    """A typed netstring."""
    return b"".join(dump(value))


def a_state(number: int = 1, **known: Any) -> dict[str, Any]:
    """A flow as mitmproxy 12 writes it, as far as a reader needs it; the same for the same number."""
    request = {
        "host": "example.com", "port": 80, "method": b"GET", "scheme": b"http", "path": b"/%d" % number,
        "authority": b"",
        "http_version": b"HTTP/1.1", "headers": [[b"Host", b"example.com"]], "content": b"", "trailers": None,
        "timestamp_start": 1.0, "timestamp_end": 2.0,
    }  # fmt: skip
    state = {
        "type": "http",
        "version": 21,
        "id": f"{number:08x}-0000-4000-8000-000000000000",
        "client_conn": CONNECTION,
    }
    return state | {"request": request, "response": None, "websocket": None} | known


def written(*flows: Flow) -> bytes:
    """A file with these flows."""
    encoder = MitmproxyEncoder()
    return b"".join(piece for flow in flows for piece in encoder.flow(flow))


def reader(data: bytes) -> MitmproxyReader:
    return MitmproxyReader(BytesIO(data), "test.mitm")


def piped(data: bytes, step: int = 1000) -> MitmproxyReader:
    return MitmproxyReader(BufferedReader(Pipe(data, step)), "test.mitm")


def paths(found: MitmproxyReader) -> list[str]:
    """What tells the flows of `a_state` apart."""
    return [flow.request.path for flow in found if flow.request]


def read_back(*flows: Flow) -> list[Any]:
    """Flows that were written and read again, as plain values."""
    return [value(flow) for flow in reader(written(*flows))]
