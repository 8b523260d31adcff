"""msgpack, with what a recorder needs on the way out and a reader of hostile files on the way in.

Out: strings that are not well-formed Unicode (a script can make them) are written all the same. In: nothing is
allocated by a number that a file claims, nesting is bounded, and extension types are refused.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from functools import partial
from struct import Struct
from typing import Any, Final

import msgpack  # type: ignore[import-untyped]

# msgpack's C code makes an array as long as its header says before it has seen one element, up to 1,024 levels deep: of
# this length 4 MiB in all. Longer ones, which honest flows hardly have, go to its Python twin, which only ever holds
# what was there.
_LONG_ARRAY = 512

# Contents above this are seldom; a buffer of this size may stay.
_LARGE = 1024 * 1024

# As deep as JSON is found in the wild; whoever walks a value recursively is safe.
_DEPTH = 32


def make_packer() -> Callable[[Any], bytes]:
    """A function that packs plain values; it is not for use by several threads."""
    strict, lenient = msgpack.Packer().pack, msgpack.Packer(unicode_errors="surrogatepass").pack

    def pack(value: Any) -> bytes:
        try:
            packed: bytes = strict(value)
        except UnicodeEncodeError:
            packed = lenient(value)
        return packed

    return pack


def header_of_bytes(size: int) -> bytes:
    """What stands before so many bytes, as packing them would put it (less than 2**32 of them)."""
    if size < 256:
        return _SHORT_BYTES[size]
    return _medium_bytes(0xC5, size) if size < 65536 else _long_bytes(0xC6, size)


_SHORT_BYTES: Final = [b"\xc4%c" % size for size in range(256)]
_medium_bytes: Final = Struct(">BH").pack
_long_bytes: Final = Struct(">BI").pack


def header_of_array(size: int) -> bytes:
    """What stands before so many values likewise (less than 2**16 of them)."""
    return b"%c" % (0x90 + size) if size < 16 else b"\xdc" + size.to_bytes(2, "big")


def to_wire(text: str) -> bytes:
    """The bytes that `headers.to_str` decoded; of text that no wire ever carried, something that can be read back."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")


def _refuse(code: int, _: bytes) -> Any:
    raise ValueError(f"extension type {code} inside a frame")


_OPTIONS = {"use_list": False, "unicode_errors": "surrogatepass", "ext_hook": _refuse, "timestamp": 1}
_unpack: Callable[[bytes], Any] = partial(msgpack.unpackb, max_array_len=_LONG_ARRAY, **_OPTIONS)


def unpack(content: bytes) -> Any:
    """The value in the content of a frame, arrays as tuples. Raises ValueError for what is not one msgpack value."""
    try:
        return _unpack(content)
    except ValueError as error:
        if type(error) is not ValueError or len(content) <= _LONG_ARRAY:  # the subclasses are about other faults
            raise
    from msgpack import fallback

    return fallback.unpackb(content, **_OPTIONS)


class Outline:
    """Takes from the map in a content the keys of `names`, with their values. The rest is passed over, unmade.

    It is asked about every record that a filter rules out, and making an Unpacker takes as long as using it: one serves
    for all, until it has been left with a rest of something broken, or with a buffer that was large once.
    """

    def __init__(self, names: Container[str]) -> None:
        self._names = names
        self._unpacker = _make_unpacker()

    def __call__(self, content: bytes) -> dict[str, Any]:
        """Raises ValueError or TypeError for what is not exactly one msgpack map."""
        end, is_clean = self._unpacker.tell() + len(content), False
        try:
            found = self._read(content)
            if self._unpacker.tell() != end:
                raise ValueError("bytes after the end of the content")
            is_clean = len(content) <= _LARGE
        except msgpack.UnpackException as error:  # of which some are no ValueError
            raise ValueError(f"not msgpack: {type(error).__name__}") from error
        finally:
            if not is_clean:
                self._unpacker = _make_unpacker()
        return found

    def _read(self, content: bytes) -> dict[str, Any]:
        names, unpack, skip = self._names, self._unpacker.unpack, self._unpacker.skip
        found = {}
        self._unpacker.feed(content)
        for _ in range(self._unpacker.read_map_header()):
            name = unpack()
            if name in names:
                found[name] = unpack()
            else:
                skip()
        return found


def _make_unpacker() -> Any:
    return msgpack.Unpacker(max_buffer_size=0, max_array_len=_LONG_ARRAY, **_OPTIONS)


def plain(value: Any, depth: int = 0) -> Any:
    """A value as JSON could hold it, or bytes; what is not such a value becomes text, so it can always be written."""
    if value is None or isinstance(value, bool | float | str | bytes):
        return value
    if isinstance(value, int) and -(2**63) <= value < 2**64:
        return value
    if not isinstance(value, Mapping | list | tuple | set | frozenset):
        return str(value)
    if depth == _DEPTH:
        return f"({type(value).__name__}, nested too deeply)"
    if isinstance(value, Mapping):
        return {str(key): plain(item, depth + 1) for key, item in value.items()}
    return [plain(item, depth + 1) for item in value]
