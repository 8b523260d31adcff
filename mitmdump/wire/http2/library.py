"""What is used of the libraries h2 and hpack, and how: the only place that imports them.

h2 does the bookkeeping: the states of streams, windows, settings and their acknowledgement, the layout of frames. What
decides over a message is not left to it. It answers a fault in one message with the end of the whole connection, where
RFC 9113 section 8.1.1 asks for the end of one stream, so it is shown no field at all: `Decoder` keeps for us what it
decoded, and gives h2 an empty list. GOAWAY, after which h2 would go no further although the streams that are open may
(section 6.8), PRIORITY and frames of unknown types never reach it.

A peer says nearly the same in every head, and hpack takes more than half of the time of a head that it has to work out,
so what was read out of a whole block, and what a field was written as, is remembered until the table changes.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Generic, TypeVar

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import h2.settings
import hpack

from ...model.headers import Field
from ..events import Role
from .codes import Code, Http2Error
from .heads import Block

Setting = h2.settings.SettingCodes
DataReceived = h2.events.DataReceived
HeadReceived = (h2.events.RequestReceived, h2.events.ResponseReceived, h2.events.InformationalResponseReceived)
StreamReset = h2.events.StreamReset
TrailersReceived = h2.events.TrailersReceived

# RFC 7541's table of 4 KiB, whatever a peer would allow us: hpack searches its table from end to end.
TABLE_SIZE = 4096

# How many blocks, or fields, are remembered per direction, how long one may be, and of how many fields a block: those
# of a dozen kinds of heads, and some hundred KiB for who tries.
_REMEMBERED = 64
_REMEMBERED_SIZE = 2048
_REMEMBERED_FIELDS = 64

# Values that hardly ever come back would only push others out of the table; credentials must not be in it, where who
# can make us send guesses could try them (RFC 7541 section 7.1). h2 and nghttp2 have such lists, too.
_NOT_INDEXED = frozenset(
    {
        b":path",
        b"age",
        b"authorization",
        b"content-length",
        b"etag",
        b"if-modified-since",
        b"if-none-match",
        b"last-modified",
        b"location",
        b"proxy-authorization",
        b"set-cookie",
    }
)

_NeverIndexed = hpack.NeverIndexedHeaderTuple
_INTERIM: list[Field] = [(b":status", b"100")]

Key = TypeVar("Key")
Value = TypeVar("Value")


class _Memory(Generic[Key, Value]):
    """What came of blocks or fields, for as long as the table means what it meant then."""

    def __init__(self, table: Any) -> None:
        self._entries = table.dynamic_entries
        self._known: dict[Key, Value] = {}
        self._size = 0
        self._first: Field | None = None

    def get(self, key: Key) -> Value | None:
        """What is remembered for this key."""
        return self._known.get(key) if self._is_current() else None

    def keep(self, key: Key, value: Value) -> None:
        """Remember what came of it just now, unless that has changed the table."""
        if self._is_current():
            if len(self._known) == _REMEMBERED:
                self._known.clear()
            self._known[key] = value

    def _is_current(self) -> bool:
        """An entry comes as a new object in front; entries go at the end, where the number tells."""
        entries = self._entries
        first = entries[0] if entries else None
        if first is self._first and len(entries) == self._size:
            return True
        self._known.clear()
        self._first, self._size = first, len(entries)
        return False


class Decoder(hpack.Decoder):
    """Keeps what it decoded, in `block`, and shows h2 only that a response is an interim one."""

    def __init__(self, max_list: int) -> None:
        super().__init__(max_list)
        self._memory: _Memory[bytes, Block] = _Memory(self.header_table)
        self.block = Block([])
        # h2 takes an interim response that ends its stream for the end of the connection, so it is not told.
        self.ends_stream = False

    def decode(self, data: bytes, raw: bool = True) -> Iterable[Any]:  # noqa: ARG002  # h2 always says so
        """Raises Http2Error, past h2."""
        block = self._memory.get(data)
        if block is None:
            block = Block(self._decode(data))
            resizes = data[:1] and data[0] & 0xE0 == 0x20  # RFC 7541 section 6.3: what it means depends on the table
            if len(data) <= _REMEMBERED_SIZE and len(block.fields) <= _REMEMBERED_FIELDS and not resizes:
                self._memory.keep(data, block)
        self.block = block
        name, value = block.fields[0] if block.fields else (b"", b"")
        return _INTERIM if name == b":status" and value[:1] == b"1" and not self.ends_stream else ()

    def _decode(self, data: bytes) -> list[Field]:
        try:
            return [_plain(field) for field in super().decode(data, raw=True)]
        except hpack.OversizedHeaderListError:
            raise Http2Error(Code.ENHANCE_YOUR_CALM, "sent a field block without end") from None
        except (hpack.HPACKError, IndexError) as error:  # RFC 9113 section 4.3
            raise Http2Error(Code.COMPRESSION_ERROR, f"sent a field block that is none: {error}") from None


def _plain(field: Any) -> Field:
    """An ordinary tuple, but where the peer wants a field never to be indexed, also by us (RFC 7541 section 6.2.3)."""
    return field if type(field) is _NeverIndexed else (field[0], field[1])


class Encoder(hpack.Encoder):
    """Writes names in lower case, keeps what is not worth it out of the table, and remembers how it wrote fields."""

    def __init__(self) -> None:
        super().__init__()
        self._memory: _Memory[Field, bytes] = _Memory(self.header_table)

    @property
    def header_table_size(self) -> int:
        """How large the table is: not more than TABLE_SIZE."""
        return self.header_table.maxsize

    @header_table_size.setter
    def header_table_size(self, value: int) -> None:
        size = min(value, TABLE_SIZE)
        if size != self.header_table.maxsize:  # hpack would forget that there was a change, if this is none
            self.header_table.maxsize = size
            # The next block tells the smallest since the last one, and the last (RFC 7541 section 4.2).
            self.table_size_changes = [min([*self.table_size_changes, size]), size]

    def encode(self, headers: Any, huffman: bool = True) -> bytes:
        """A field block."""
        pieces = [super().encode(())] if self.header_table.resized else []  # which says that it is
        memory = self._memory
        for field in headers:
            piece = memory.get(field)
            if piece is None:
                name = field[0].lower()
                is_secret = name in _NOT_INDEXED or type(field) is _NeverIndexed
                piece = self.add((name, field[1]), is_secret, huffman)
                if len(piece) <= _REMEMBERED_SIZE:
                    memory.keep(field, piece)
            pieces.append(piece)
        return b"".join(pieces)


class Library(h2.connection.H2Connection):
    """h2's connection, set up for one who decides himself what a message may say, and how many streams there are."""

    # How many streams h2 remembers the end of; by default 65,536, which takes megabytes.
    MAX_CLOSED_STREAMS = 1000

    decoder: Decoder
    encoder: Encoder

    def __init__(self, role: Role, settings: dict[h2.settings.SettingCodes, int], max_list: int) -> None:
        super().__init__(
            h2.config.H2Configuration(
                client_side=role is Role.CLIENT,
                header_encoding=None,
                validate_inbound_headers=False,
                validate_outbound_headers=False,
                normalize_inbound_headers=False,
                normalize_outbound_headers=False,
            )
        )
        self.decoder = Decoder(max_list)
        self.encoder = Encoder()
        self.local_settings = h2.settings.Settings(client=role is Role.CLIENT, initial_values=settings)

    @property
    def open_inbound_streams(self) -> int:
        """None, for h2: a stream too many would be the end of the connection, and is one that we refuse."""
        super().open_inbound_streams  # noqa: B018  # which also forgets those that have ended
        return 0

    def receive_frame(self, whole: bytes) -> list[h2.events.Event]:
        """What a frame means. Raises Http2Error; then h2 has queued a GOAWAY."""
        try:
            return self.receive_data(whole)
        except h2.exceptions.ProtocolError as error:
            code = Code(error.error_code)
            reason = _REASONS.get(type(error)) or f"broke a rule of HTTP/2: {error}"
            raise Http2Error(code, reason, announced=True) from error


_REASONS: dict[type[Exception], str] = {
    h2.exceptions.FlowControlError: "exceeded a flow-control window",
    h2.exceptions.FrameTooLargeError: "sent a frame that is too large",
}
