"""The dicts that mitmproxy writes, looked into with care: every value is checked, whatever version wrote it.

From version to version fields were renamed, so each is asked for under all names that it ever had, the newest first;
and they changed their shape, so each is taken in any shape that it ever had: text was bytes before there was Python 3,
an address was a dict around the address until (1, 0). What cannot be what it should be raises ValueError.
"""

from __future__ import annotations

from ...model.connection import Address
from ...model.headers import Field, Headers, to_bytes, to_str
from .tnetstring import Large, Value, pairs

# The version that mitmproxy 11 and 12 write.
NEWEST = 21

# Of whatever is no body and no list of messages: headers, certificates, metadata. The largest message heads that
# servers take are 1 MiB; in memory a value may have twenty times the bytes that it has in the file.
_LIMIT = 4 * 1024 * 1024

# No dict of a flow has had more keys than the 25 of a connection.
_KEYS = 100

# Times later than this (a day before the end of year 9999) could not be shown to anybody.
_LAST_TIME = 253402214400.0


class State:
    """A dict of a file; `name` is what messages call it.

    The methods take the names of a field, and give None, or the default, where it is None or absent under all of them.
    """

    __slots__ = ("_name", "found")

    def __init__(self, name: str, found: dict[str, Value]) -> None:
        self.found = found
        self._name = name

    def get(self, *names: str) -> Value:
        """Whatever it is; not a large value."""
        for name in names:
            value = self.found.get(name)
            if value is not None:
                return value.load(_LIMIT) if isinstance(value, Large) else value
        return None

    def text(self, *names: str) -> str | None:
        """Text, or bytes as text."""
        value = self.get(*names)
        if isinstance(value, bytes):
            return to_str(value)
        if value is not None and not isinstance(value, str):
            raise self._wrong(names[0], value)
        return value

    def raw(self, *names: str) -> bytes | None:
        """Bytes, or text as bytes."""
        value = self.get(*names)
        return None if value is None else as_bytes(value)

    def time(self, *names: str) -> float | None:
        """Unix seconds."""
        value = self.get(*names)
        return None if value is None else as_time(value)

    def number(self, *names: str) -> int:
        """An integer that fits into 16 bits: a port, a code; 0 where there is none."""
        value = self.get(*names)
        if value is None:
            return 0
        if type(value) is not int or not 0 <= value < 65536:
            raise self._wrong(names[0], value)
        return value

    def address(self, *names: str) -> Address | None:
        """A host and a port; what follows them, in an address of IPv6, is left out. An empty host is no address."""
        value = self.get(*names)
        if isinstance(value, dict):
            value = value.get("address")
        if not value:
            return None
        host, port = as_list(value)[:2]
        address = State(names[0], {"host": host, "port": port})
        return (address.text("host") or "", address.number("port")) if host else None

    def strings(self, *names: str) -> list[bytes]:
        """A list of bytes; where there were not yet several, one."""
        value = self.get(*names)
        if isinstance(value, bytes):
            return [value] if value else []
        return [as_bytes(each) for each in as_list(value or [])]

    def headers(self, *names: str) -> Headers | None:
        """Header fields."""
        value = self.get(*names)
        return None if value is None else Headers([_field(each) for each in as_list(value)])

    def map(self, name: str) -> State | None:
        """A dict inside this one."""
        value = self.found.get(name)
        return None if value is None else State(name, as_map(value))

    def metadata(self) -> dict[str, Value]:
        """What was annotated."""
        return as_map(self.get("metadata") or {})

    def _wrong(self, name: str, value: Value) -> ValueError:
        return ValueError(f"a {self._name} with {value!a:.40} as {name}")


def as_map(value: Value) -> dict[str, Value]:
    """A dict, in which large values stay where they are. Raises ValueError where it is none."""
    if isinstance(value, Large) and value.tag == b"}":
        children = []
        for child in value.children():
            children.append(child)
            if len(children) > 2 * _KEYS:
                raise ValueError("a dict with more keys than a flow has")
        return pairs(children)
    if not isinstance(value, dict):
        raise ValueError("something else where a dict should be")
    return value


def as_list(value: Value) -> list[Value]:
    """A list. Raises ValueError where it is none."""
    if not isinstance(value, list):
        raise ValueError("something else where a list should be")
    return value


def as_bytes(value: Value) -> bytes:
    """Bytes, or text as bytes. Raises ValueError where it is neither."""
    if not isinstance(value, bytes | str):
        raise ValueError("something else where bytes should be")
    return to_bytes(value)


def as_time(value: Value) -> float:
    """Unix seconds that a calendar can show. Raises ValueError, for NaN too."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _LAST_TIME:
        raise ValueError("a time that no calendar shows")
    return float(value)


def as_truth(value: Value) -> bool:
    """True or False. Raises ValueError where it is neither."""
    if not isinstance(value, bool):
        raise ValueError("something else where true or false should be")
    return value


def _field(value: Value) -> Field:
    name, content = as_list(value)
    return as_bytes(name), as_bytes(content)
