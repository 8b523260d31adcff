"""Content codings are undone within bounds, and any bytes become text."""

import gzip
import subprocess
import sys
import tracemalloc
import zlib
from contextlib import suppress

import brotli
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from mitmdump.errors import ContentError
from mitmdump.model.body import PIECE
from mitmdump.model.content import MAX_CODINGS, Decoded, decode, to_text


def raw_deflate(data: bytes) -> bytes:
    return zlib.compress(data, wbits=-15)


def fast_gzip(data: bytes) -> bytes:
    return gzip.compress(data, compresslevel=1)


def fast_brotli(data: bytes) -> bytes:
    return brotli.compress(data, quality=3)


CODERS = {
    "gzip": fast_gzip,
    "x-gzip": fast_gzip,
    "deflate": zlib.compress,
    "Deflate": raw_deflate,
    "br": fast_brotli,
    "zstd": zstandard.compress,
    "identity": bytes,
    "": bytes,
}
CODED = [name for name in CODERS if name.lower() not in ("", "identity")]


def encode(data: bytes, encoding: str) -> bytes:
    for name in encoding.split(", "):
        data = CODERS[name](data)
    return data


@settings(max_examples=50)
@given(st.binary(max_size=2000), st.lists(st.sampled_from(list(CODERS)), max_size=MAX_CODINGS), st.integers(1, 50))
def test_any_list_of_codings_is_undone_in_reverse_order_however_the_bytes_are_split(data, names, step):
    coded = encode(data, ", ".join(names or [""]))
    pieces = [coded[at : at + step] for at in range(0, len(coded), step)]

    assert decode(coded, ", ".join(names)) == decode(pieces, ",".join(names)) == Decoded(data, truncated=False)


@pytest.mark.parametrize("name", CODED)
@pytest.mark.parametrize("size", [32752, PIECE, 98272, 2 * PIECE, 4 * PIECE])  # where a coder's output buffer is full
def test_nothing_is_lost_where_a_piece_is_just_full(name, size):
    for length in (size - 1, size, size + 1, size + 258):
        assert len(decode(CODERS[name](bytes(length)), name).data) == length


@pytest.mark.parametrize("encoding", ["GZIP", " gzip ", "gzip,", ", gzip", "identity, gzip"])
def test_the_list_is_read_as_lists_are(encoding):
    assert decode(gzip.compress(b"hello"), encoding).data == b"hello"


@pytest.mark.parametrize("encoding", [*CODERS, "no-such-coding"])
def test_an_empty_body_is_empty_under_any_coding(encoding):
    assert decode(b"", encoding) == Decoded(b"", truncated=False)
    assert decode([b"", b""], encoding) == Decoded(b"", truncated=False)


@pytest.mark.parametrize("name", ["gzip", "zstd"])
@pytest.mark.parametrize("step", [1, 7, 10_000])
def test_members_and_frames_in_a_row_are_one_body(name, step):
    coded = CODERS[name](b"one") + CODERS[name](b"") + CODERS[name](b"two")

    assert decode([coded[at : at + step] for at in range(0, len(coded), step)], name).data == b"onetwo"


@pytest.mark.parametrize("name", ["gzip", "deflate", "Deflate"])
@pytest.mark.parametrize("rest", [b"\0\0\0", b"rubbish"])
def test_what_follows_the_end_is_ignored(name, rest):
    assert decode(CODERS[name](b"hello") + rest, name).data == b"hello"
    assert decode([CODERS[name](b"hello"), rest], name).data == b"hello"


@pytest.mark.parametrize("name", ["br", "zstd"])
def test_what_follows_the_end_is_an_error_where_it_cannot_be_told_from_data(name):
    with pytest.raises(ContentError):
        decode(CODERS[name](b"hello") + b"rubbish", name)


@pytest.mark.parametrize("name", CODED)
def test_a_body_that_was_cut_off_gives_what_there_is(name):
    data = bytes(range(256)) * 4096
    coded = CODERS[name](data)

    for end in (1, 2, 3, len(coded) // 2, len(coded) - 1):
        decoded = decode(coded[:end], name)
        assert data.startswith(decoded.data)
        assert not decoded.truncated


@pytest.mark.parametrize("name", CODED)
def test_data_that_are_not_what_their_coding_says_raise(name):
    with pytest.raises(ContentError, match=f"not valid {name.lower().removeprefix('x-')} data"):
        decode(b"<html>hello</html>", name)


def test_a_wrong_checksum_raises():
    coded = bytearray(gzip.compress(b"hello"))
    coded[-5] ^= 1

    with pytest.raises(ContentError, match="incorrect data check"):
        decode(bytes(coded), "gzip")


def test_an_unknown_coding_raises_and_is_quoted_harmlessly():
    """L1"""
    with pytest.raises(ContentError, match=r"unknown content coding 'x\\x1b\[2j'$"):
        decode(b"x", "gzip, x\x1b[2J")


def test_a_fault_below_is_told_as_the_fault_of_that_coding():
    with pytest.raises(ContentError, match="gzip"):
        decode(b"no gzip", "br, gzip")


def test_more_codings_than_any_sender_has_use_for_raise():
    """R2"""
    with pytest.raises(ContentError, match="more than 5"):
        decode(b"x", ",".join(["identity"] * (MAX_CODINGS + 1)))


@settings(max_examples=100)
@given(st.binary(max_size=200), st.lists(st.sampled_from(CODED), min_size=1, max_size=2))
def test_whatever_the_bytes_they_decode_or_raise_content_error(data, names):
    with suppress(ContentError):
        decode(data, ",".join(names))


@pytest.mark.parametrize("name", CODERS)
@pytest.mark.parametrize(("limit", "truncated"), [(0, True), (99, True), (100, False), (101, False)])
def test_more_than_the_limit_is_cut_off_and_said_to_be(name, limit, truncated):
    data = bytes(range(100))

    assert decode(CODERS[name](data), name, limit) == Decoded(data[:limit], truncated)


BOMB_LIMIT = 1024 * 1024
BOMBS = [*CODED, "gzip, gzip", "br, gzip", "zstd, br", "zstd, zstd, zstd", "gzip, br, zstd, deflate, br"]


@pytest.fixture(scope="module")
def plain() -> bytes:
    return bytes(32 * BOMB_LIMIT)


@pytest.mark.parametrize("encoding", BOMBS)
def test_a_bomb_costs_no_more_than_the_limit_and_a_few_pieces(encoding, plain):
    """R2"""
    bomb = encode(plain, encoding)
    decode(encode(b"x", encoding), encoding)  # so that imports do not count
    tracemalloc.start()

    decoded = decode(bomb, encoding, BOMB_LIMIT)

    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert decoded == Decoded(plain[:BOMB_LIMIT], truncated=True)
    assert peak < 2 * BOMB_LIMIT + 4 * PIECE * len(encoding.split(","))


def test_a_zstd_frame_with_a_window_larger_than_http_allows_raises(plain):
    """R2"""
    parameters = zstandard.ZstdCompressionParameters(window_log=27)
    coder = zstandard.ZstdCompressor(compression_params=parameters).compressobj()

    with pytest.raises(ContentError, match="too much memory"):
        decode(coder.compress(plain) + coder.flush(), "zstd")


def test_nothing_is_read_past_the_limit():
    read = []

    def pieces():
        for index in range(1000):
            read.append(index)
            yield bytes(1000)

    assert decode(pieces(), "", 5000).truncated
    assert len(read) == 6


@pytest.mark.parametrize("name", ["brotli", "zstandard"])
def test_the_coders_are_imported_only_when_needed(name):
    code = f"import sys, mitmdump.model.message; sys.exit({name!r} in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


UMLAUT = "Gr\u00fc\u00dfe"


@pytest.mark.parametrize(
    ("data", "content_type", "text"),
    [
        (UMLAUT.encode(), "", UMLAUT),
        (UMLAUT.encode(), "text/plain", UMLAUT),
        (UMLAUT.encode(), "text/plain; charset=utf-8", UMLAUT),
        (UMLAUT.encode(), 'text/plain; Charset="UTF8"', UMLAUT),
        (UMLAUT.encode("latin-1"), "text/plain; charset=iso-8859-1", UMLAUT),
        (UMLAUT.encode("latin-1"), "text/plain;charset=ISO-8859-15; format=flowed", UMLAUT),
        (b"\x93", "text/plain; charset=latin1", "\u201c"),
        (b"\x93", "text/plain; charset=us-ascii", "\u201c"),
        ("\u0416".encode("koi8-u"), "text/plain; charset=KOI8-U", "\u0416"),
        ("\u65e5".encode("cp932"), "text/plain; charset=x-sjis", "\u65e5"),
        ("\u65e5".encode("euc-jp"), "text/plain; charset=EUC-JP", "\u65e5"),
        (UMLAUT.encode("utf-8-sig"), "text/plain; charset=latin1", UMLAUT),
        (UMLAUT.encode("utf-16"), "text/plain", UMLAUT),
        (b"\xfe\xff" + UMLAUT.encode("utf-16-be"), "", UMLAUT),
        (UMLAUT.encode("utf-32"), "", UMLAUT),
        ("{}".encode("utf-16-le"), "application/json", "{}"),
        ("<a/>".encode("utf-16-be"), "application/xml", "<a/>"),
        (b"a\0b", "application/octet-stream", "a\0b"),
        (
            b'<?xml version="1.0" encoding="iso-8859-1"?>\xfc',
            "text/xml",
            '<?xml version="1.0" encoding="iso-8859-1"?>\u00fc',
        ),
        (b"<META charset=latin1>\xfc", "text/html", "<META charset=latin1>\u00fc"),
        (
            b'<meta content="text/html; charset=latin1">\xfc',
            "text/html",
            '<meta content="text/html; charset=latin1">\u00fc',
        ),
        (b"<meta charset=latin1>\xfc", "text/plain", "<meta charset=latin1>\ufffd"),
        (b"<meta charset=utf-16>\xc3\xbc", "text/html", "<meta charset=utf-16>\u00fc"),
        (b"<meta charset=latin1>\xc3\xbc", "text/html; charset=utf-8", "<meta charset=latin1>\u00fc"),
        (b"\xfc", "text/plain", "\ufffd"),
        (b"\xfc", "text/plain; charset=utf-8", "\ufffd"),
    ],
)
def test_text_is_read_by_mark_then_by_statement_then_by_what_it_says_of_itself(data, content_type, text):
    assert to_text(data, content_type) == text


HOSTILE_NAMES = [
    "nonsense",
    "hex",
    "zlib",
    "rot13",
    "idna",
    "punycode",
    "undefined",
    "unicode_escape",
    "mbcs",
    "\udcff",
    "a" * 99,
]


@pytest.mark.parametrize("name", [*HOSTILE_NAMES, "", "..", "os.path", "utf-8\0", '"', ";", "\u00fc"])
def test_a_charset_nobody_should_know_means_utf_8(name):
    assert to_text(UMLAUT.encode(), f"text/plain; charset={name}") == UMLAUT


@settings(max_examples=200)
@given(
    st.binary(max_size=50), st.text(max_size=20), st.sampled_from(["text/html", "text/xml", "application/json", "x"])
)
def test_any_bytes_under_any_charset_become_text(data, name, kind):
    to_text(data, f"{kind}; charset={name}")
    to_text(b"<meta charset=" + data, kind)


def test_a_document_that_never_says_its_charset_is_not_searched_for_long():
    """R2"""
    for filler in (b"<meta", b"<meta ", b"<meta;", b"<?xml ", b" "):
        assert to_text(filler * (BOMB_LIMIT // len(filler)), "text/html")


def test_names_of_charsets_from_the_network_fill_no_cache():
    """R3"""
    from encodings import _cache  # the interpreter's own, of every name it was ever asked for

    before = len(_cache)
    for number in range(100):
        to_text(b"x", f"text/plain; charset=no-such-{number}")

    assert len(_cache) == before
