"""HTTP header fields as they stand on the wire: ordered, case kept, repeated where the sender repeated them.

Inside are bytes; outside, in the mapping interface, are strings. A byte that is not UTF-8 becomes a surrogate escape
(PEP 383), so every value survives the way out and back in.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, MutableMapping

Field = tuple[bytes, bytes]


def to_bytes(text: str | bytes) -> bytes:
    """Encode what `to_str` decoded."""
    return text if isinstance(text, bytes) else text.encode("utf-8", "surrogateescape")


def to_str(data: bytes) -> str:
    """Decode bytes of unknown origin without loss; `to_bytes` gives them back."""
    return data.decode("utf-8", "surrogateescape")


class Headers(MutableMapping[str, str]):
    """An ordered multi-map of header fields.

    `headers["name"]` ignores case and joins repeated fields with ", " (RFC 9110 section 5.3); Set-Cookie, which must
    not be joined, is read with `get_all`. `fields` is the list of (name, value) as sent, free to be read and changed; a
    list given to the constructor becomes it, without a copy.
    """

    __slots__ = ("fields",)

    def __init__(self, fields: Iterable[Field] = ()) -> None:
        self.fields: list[Field] = fields if isinstance(fields, list) else list(fields)

    def get_all(self, name: str | bytes) -> list[str]:
        """The values of all fields of this name, in order."""
        return [to_str(value) for value in self.raw_values(to_bytes(name).lower())]

    def raw_values(self, lower_name: bytes) -> list[bytes]:
        """The values, as bytes, of all fields of this lower-case name."""
        return [value for name, value in self.fields if name.lower() == lower_name]

    def set_all(self, name: str | bytes, values: Iterable[str | bytes]) -> None:
        """Replace all fields of this name, where the first of them stood, or add them at the end."""
        raw = to_bytes(name)
        lower, place, kept = raw.lower(), None, []
        for field in self.fields:
            if field[0].lower() != lower:
                kept.append(field)
            elif place is None:
                place = len(kept)
        place = len(kept) if place is None else place
        kept[place:place] = [(raw, to_bytes(value)) for value in values]
        self.fields = kept

    def add(self, name: str | bytes, value: str | bytes) -> None:
        """Add one field at the end, whatever is there."""
        self.fields.append((to_bytes(name), to_bytes(value)))

    def copy(self) -> Headers:
        """An independent copy."""
        return Headers(list(self.fields))

    def __getitem__(self, name: str | bytes) -> str:
        values = self.get_all(name)
        if not values:
            raise KeyError(name)
        return ", ".join(values)

    def __setitem__(self, name: str | bytes, value: str | bytes) -> None:
        self.set_all(name, [value])

    def __delitem__(self, name: str | bytes) -> None:
        if name not in self:
            raise KeyError(name)
        self.set_all(name, [])

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str | bytes) and bool(self.raw_values(to_bytes(name).lower()))

    def __iter__(self) -> Iterator[str]:
        seen = set()
        for name, _ in self.fields:
            if (lower := name.lower()) not in seen:
                seen.add(lower)
                yield to_str(name)

    def __len__(self) -> int:
        return len({name.lower() for name, _ in self.fields})

    def __eq__(self, other: object) -> bool:
        return self.fields == other.fields if isinstance(other, Headers) else NotImplemented

    __hash__ = None  # type: ignore[assignment]  # mutable

    def __repr__(self) -> str:
        return f"Headers({self.fields!r})"
