"""mitmdump: a headless recording proxy for HTTP and HTTPS.

The rooms of the house; an import may only go to a lower floor (tests/test_floors.py holds the same table):

| floor | package | holds |
|---|---|---|
| 0 | `errors`, `model/` | exceptions; flows as plain data |
| 1 | `filter/` | the filter language: operators, parser, staged evaluation |
| 1 | `flowfile/` | the capture file: frames, schema, reader, writer |
| 1 | `formats/` | capture formats of others: HAR, mitmproxy's flow file, JSON Lines |
| 1 | `redaction/` | secrets replaced by pseudonyms, in texts and bytes |
| 1 | `wire/` | HTTP/1, HTTP/2 and WebSocket as bytes in, events out, and back; no sockets, no clock |
| 1 | `tls/` | ClientHello, TLS session over memory BIOs, the CA, certificates and their verification |
| 1 | `settings` | all options, parsed and frozen |
| 2 | `net/` | streams, the listener, upstream connections |
| 2 | `handlers/` | hooks for those who change live flows |
| 2 | `sinks/` | where flows go: the flow file, stdout |
| 3 | `files/` | capture files of any format, opened by content, written by extension |
| 3 | `proxy/` | one client connection, one exchange, one raw relay |
| 3 | `log` | what is said on stderr |
| 4 | `replay/` | recorded requests sent again, recorded responses given again |
| 5 | `app`, `job` | wiring; one run and its outputs |
| 5 | `doors`, `live`, `readback` | where flows come from: listening sockets, the proxy, files |
| 5 | `cli`, `options` | the command line and its table |

Programs that read or write captures import what is in `__all__` from here. That loads no more than it takes: neither an
event loop nor OpenSSL.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .errors import ContentError, FilterError, FlowFileError, MitmdumpError, OutputError
    from .files import Flows, FlowWriter, open_flows
    from .filter import Filter, parse
    from .model.body import Body
    from .model.connection import Connection
    from .model.flow import Error, Flow
    from .model.headers import Headers
    from .model.message import Message, Request, Response
    from .model.reading import Damage

__version__ = "0.1.0"

__all__ = [
    "Body",
    "Connection",
    "ContentError",
    "Damage",
    "Error",
    "Filter",
    "FilterError",
    "Flow",
    "FlowFileError",
    "FlowWriter",
    "Flows",
    "Headers",
    "Message",
    "MitmdumpError",
    "OutputError",
    "Request",
    "Response",
    "open_flows",
    "parse",
]

_HOMES = {
    "errors": ("ContentError", "FilterError", "FlowFileError", "MitmdumpError", "OutputError"),
    "files": ("Flows", "FlowWriter", "open_flows"),
    "filter": ("Filter", "parse"),
    "model.body": ("Body",),
    "model.connection": ("Connection",),
    "model.flow": ("Error", "Flow"),
    "model.headers": ("Headers",),
    "model.message": ("Message", "Request", "Response"),
    "model.reading": ("Damage",),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    """A public name, loaded when it is first asked for."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f".{_HOME[name]}", __name__), name)
    return value
