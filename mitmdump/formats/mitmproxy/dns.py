"""DNS messages: from the dicts that mitmproxy takes them apart into, to the bytes that were on the wire, and back.

RFC 1035 section 4: a header of twelve bytes, then questions and three sections of records. Names are written out in
full; a reader follows pointers (section 4.1.4) backwards only, and for no more than the 255 bytes that a name may have.
"""

from __future__ import annotations

import struct
from typing import Any

_HEADER = struct.Struct("!HHHHHH")
_QUESTION = struct.Struct("!HH")
_RECORD = struct.Struct("!HHIH")

# The bits of the second word of the header: name, its lowest bit, how many bits. `query` is the one that is inverted.
_FLAGS = (
    ("query", 15, 1),
    ("op_code", 11, 4),
    ("authoritative_answer", 10, 1),
    ("truncation", 9, 1),
    ("recursion_desired", 8, 1),
    ("recursion_available", 7, 1),
    ("reserved", 4, 3),
    ("response_code", 0, 4),
)
_SECTIONS = ("answers", "authorities", "additionals")

# The record types whose data may hold names that point elsewhere in the message (RFC 3597 section 4): how many bytes go
# before them, and how many names there are. NS, CNAME, SOA, PTR, MX, RP, AFSDB, SRV.
_NAMES_IN_DATA = {2: (0, 1), 5: (0, 1), 6: (0, 2), 12: (0, 1), 15: (2, 1), 17: (0, 2), 18: (2, 1), 33: (6, 1)}


def pack(found: dict[str, Any]) -> bytes:
    """The wire form. Raises ValueError where this is no DNS message."""
    try:
        return _pack(found)
    except (struct.error, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"a DNS message that has no wire form: {error}") from None


def _pack(found: dict[str, Any]) -> bytes:
    flags = 0
    for name, low, bits in _FLAGS:
        value = int(found.get(name) or 0) ^ (name == "query")
        if value >> bits:
            raise ValueError(f"a DNS message with {value} as {name}")
        flags |= value << low
    questions, *sections = (found[name] for name in ("questions", *_SECTIONS))
    parts = [_HEADER.pack(found["id"], flags, len(questions), *map(len, sections))]
    parts += [_pack_name(each["name"]) + _QUESTION.pack(each["type"], each["class_"]) for each in questions]
    parts += [_pack_record(each) for section in sections for each in section]
    return b"".join(parts)


def _pack_record(found: dict[str, Any]) -> bytes:
    head = _RECORD.pack(found["type"], found["class_"], found["ttl"], len(found["data"]))
    return _pack_name(found["name"]) + head + bytes(found["data"])


def _pack_name(name: str) -> bytes:
    labels = name.split(".") if name else []
    if not all(0 < len(label) < 64 for label in labels):
        raise ValueError("a DNS name with an empty or a long label")
    packed = [label.encode("ascii" if label.isascii() else "idna") for label in labels]
    return b"".join(bytes((len(label),)) + label for label in packed) + b"\0"


def unpack(data: bytes, timestamp: float) -> dict[str, Any]:
    """What mitmproxy makes of a message; the time in Unix seconds. Raises ValueError where this is no DNS message."""
    try:
        return _unpack(data) | {"timestamp": timestamp}
    except (struct.error, IndexError):
        raise ValueError("a DNS message that ends too early") from None


def _unpack(data: bytes) -> dict[str, Any]:
    identity, flags, *counts = _HEADER.unpack_from(data)
    found: dict[str, Any] = {"id": identity, "questions": []}
    for name, low, bits in _FLAGS:
        value = flags >> low & (1 << bits) - 1
        found[name] = (not value if name == "query" else bool(value)) if bits == 1 else value
    at = _HEADER.size
    for _ in range(counts[0]):
        name, at = _unpack_name(data, at)
        kind, class_ = _QUESTION.unpack_from(data, at)
        at += _QUESTION.size
        found["questions"].append({"name": name, "type": kind, "class_": class_})
    for section, count in zip(_SECTIONS, counts[1:], strict=True):
        found[section] = []
        for _ in range(count):
            record, at = _unpack_record(data, at)
            found[section].append(record)
    if at != len(data):
        raise ValueError("a DNS message with more behind it")
    return found


def _unpack_record(data: bytes, at: int) -> tuple[dict[str, Any], int]:
    name, at = _unpack_name(data, at)
    kind, class_, ttl, size = _RECORD.unpack_from(data, at)
    start = at + _RECORD.size
    end = start + size
    if end > len(data):
        raise ValueError("a DNS record that ends too early")
    content = data[start:end]
    if kind in _NAMES_IN_DATA:
        before, names = _NAMES_IN_DATA[kind]
        content = data[start : start + before]
        at = start + before
        for _ in range(names):
            inner, at = _unpack_name(data, at)
            content += _pack_name(inner)
        content += data[at:end]
    return {"name": name, "type": kind, "class_": class_, "ttl": ttl, "data": content}, end


def _unpack_name(data: bytes, at: int) -> tuple[str, int]:
    """The name there, and where what follows it begins. No more than 255 bytes (RFC 1035 section 2.3.4)."""
    labels: list[str] = []
    total, after = 0, 0
    while size := data[at]:
        if size < 64:
            label = data[at + 1 : at + 1 + size]
            if b"." in label or not label.isascii():
                raise ValueError("a DNS name with a label that has no form as text")
            labels.append(label.decode("ascii"))
            at += 1 + size
            total += 1 + size
        else:
            (pointer,) = struct.unpack_from("!H", data, at)
            after = after or at + 2
            if size < 192 or pointer & 0x3FFF >= at:
                raise ValueError("a DNS name that points forwards")
            at = pointer & 0x3FFF
        if total > 255:
            raise ValueError("a DNS name of more than 255 bytes")
    return ".".join(labels), after or at + 1
