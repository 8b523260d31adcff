"""HAR for tests: the rules of HAR 1.2 as a check, entries as others write them, and flows there and back."""

from __future__ import annotations

import json
from datetime import datetime
from io import BytesIO
from typing import Any

from mitmdump.formats.har import HAR
from mitmdump.formats.har.reader import HarReader
from mitmdump.model.flow import Flow

# http://www.softwareishard.com/blog/har-12-spec/: members that must be there, those that may, and their types.
NUMBER = (int, float)
RULES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "log": ({"version": str, "creator": dict, "entries": list}, {"browser": dict, "pages": list, "comment": str}),
    "creator": ({"name": str, "version": str}, {"comment": str}),
    "entry": (
        {
            "startedDateTime": str,
            "time": NUMBER,
            "request": dict,
            "response": dict,
            "cache": dict,
            "timings": dict,
        },
        {"pageref": str, "serverIPAddress": str, "connection": str, "comment": str},
    ),
    "request": (
        {
            "method": str,
            "url": str,
            "httpVersion": str,
            "cookies": list,
            "headers": list,
            "queryString": list,
            "headersSize": int,
            "bodySize": int,
        },
        {"postData": dict, "comment": str},
    ),
    "response": (
        {
            "status": int,
            "statusText": str,
            "httpVersion": str,
            "cookies": list,
            "headers": list,
            "content": dict,
            "redirectURL": str,
            "headersSize": int,
            "bodySize": int,
        },
        {"comment": str},
    ),
    "cookie": (
        {"name": str, "value": str},
        {"path": str, "domain": str, "expires": str, "httpOnly": bool, "secure": bool, "comment": str},
    ),
    "pair": ({"name": str, "value": str}, {"comment": str}),
    # `encoding` is not of the specification, which has it for content only.
    "postData": ({"mimeType": str}, {"text": str, "params": list, "comment": str, "encoding": str}),
    "content": (
        {"size": int, "mimeType": str},
        {"compression": int, "text": str, "encoding": str, "comment": str},
    ),
    "timings": (
        {"send": NUMBER, "wait": NUMBER, "receive": NUMBER},
        {"blocked": NUMBER, "dns": NUMBER, "connect": NUMBER, "ssl": NUMBER, "comment": str},
    ),
    "message": ({"type": str, "time": NUMBER, "opcode": int, "data": str}, {}),
}


def follow(rule: str, found: dict[str, Any]) -> None:
    """Has an object all that it must have, and nothing that it may not? `sameSite` is what browsers write."""
    required, optional = RULES[rule]
    assert required.keys() <= found.keys(), f"{rule} lacks {required.keys() - found.keys()}"
    for name, value in found.items():
        if name.startswith("_") or name == "sameSite":
            continue
        types = {**required, **optional}.get(name)
        assert types, f"{rule} may not have {name}"
        assert isinstance(value, types) and (types is not int or not isinstance(value, bool)), f"{rule}.{name}"


def check(data: bytes) -> list[dict[str, Any]]:
    """The entries of a file that follows HAR 1.2 to the letter."""
    log = json.loads(data.decode("ascii"))["log"]
    follow("log", log)
    follow("creator", log["creator"])
    for entry in log["entries"]:
        check_entry(entry)
    return list(log["entries"])


def check_entry(entry: dict[str, Any]) -> None:
    follow("entry", entry)
    assert datetime.fromisoformat(entry["startedDateTime"]).tzinfo
    request, response, timings = entry["request"], entry["response"], entry["timings"]
    for rule, part in (("request", request), ("response", response), ("timings", timings)):
        follow(rule, part)
    for rule, items in (
        ("pair", [*request["headers"], *response["headers"], *request["queryString"]]),
        ("cookie", [*request["cookies"], *response["cookies"]]),
        ("message", entry.get("_webSocketMessages", [])),
    ):
        for item in items:
            follow(rule, item)
    follow("content", response["content"])
    if "postData" in request:
        follow("postData", request["postData"])
    assert all(timings[name] >= 0 for name in ("send", "wait", "receive"))
    whole = sum(time for name, time in timings.items() if name != "ssl" and time != -1)
    assert abs(whole - entry["time"]) < 0.01


def written(*flows: Flow) -> bytes:
    """A whole file with these flows."""
    encoder = HAR.encoder()
    return encoder.head() + b"".join(piece for flow in flows for piece in encoder.flow(flow)) + encoder.tail


def reader(data: bytes) -> HarReader:
    return HarReader(BytesIO(data), "test.har")


def there_and_back(flow: Flow) -> Flow:
    """What is read of a flow that was written."""
    found = reader(written(flow))
    (back,) = found
    assert not found.damage
    return back


def an_entry(**changed: Any) -> dict[str, Any]:
    """An entry as a browser has it, cut to what must be there."""
    entry = {
        "startedDateTime": "2023-03-30T00:00:54.250Z",
        "time": 100,
        "request": {
            "method": "GET",
            "url": "https://example.com/a?b=c",
            "httpVersion": "HTTP/1.1",
            "headers": [{"name": "Host", "value": "example.com"}],
            "queryString": [],
            "cookies": [],
            "headersSize": -1,
            "bodySize": 0,
        },
        "response": {
            "status": 200,
            "statusText": "OK",
            "httpVersion": "HTTP/1.1",
            "headers": [],
            "cookies": [],
            "content": {"size": 5, "mimeType": "text/plain", "text": "hello"},
            "redirectURL": "",
            "headersSize": -1,
            "bodySize": 5,
        },
        "cache": {},
        "timings": {"blocked": 10, "dns": -1, "connect": 30, "ssl": 20, "send": 5, "wait": 50, "receive": 5},
    }
    for path, value in changed.items():
        *places, last = path.split("__")
        part: Any = entry
        for place in places:
            part = part[place]
        part[last] = value
    return entry


def a_har(*entries: Any, indent: int | None = None) -> bytes:
    """A file of another program with these entries."""
    log = {"version": "1.2", "creator": {"name": "x", "version": "1"}, "pages": [], "entries": entries}
    return json.dumps({"log": log}, indent=indent).encode()


def read_entries(*entries: Any) -> list[Flow]:
    found = reader(a_har(*entries))
    flows = list(found)
    assert not found.damage
    return flows
