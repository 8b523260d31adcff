"""Capture files of any format, from anywhere."""

from __future__ import annotations

import gzip
import io
import os
import subprocess
import sys
import threading
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import pytest
import zstandard
from support.flowfiles import START, a_file, a_flow, live, values

import mitmdump
from mitmdump.errors import FilterError, FlowFileError
from mitmdump.files import Flows, open_flows
from mitmdump.filter import parse
from mitmdump.flowfile import SectionWriter
from mitmdump.formats.base import Format
from mitmdump.model.flow import Flow, Part
from mitmdump.model.reading import Damage

LARGE = bytes(range(256)) * 300  # larger than what stands inside a FLOW frame
PLAIN = a_file(a_flow(1), a_flow(2, LARGE), a_flow(3))


def in_frames(data: bytes, size: int = 500) -> bytes:
    """Compressed, in many independent frames."""
    return b"".join(zstandard.compress(data[at : at + size]) for at in range(0, len(data), size))


SKIPPABLE = b"\x5a\x2a\x4d\x18\x03\x00\x00\x00abc"
STORED = {
    "plain": PLAIN,
    "compressed": zstandard.compress(PLAIN),
    "compressed in frames": in_frames(PLAIN),
    "compressed behind a skippable frame": SKIPPABLE + zstandard.compress(PLAIN),
}


def ids(flows: Flows) -> list[int]:
    return [flow.id for flow in flows]


@contextmanager
def piped(data: bytes) -> Iterator[BinaryIO]:
    """A pipe that somebody writes this into, byte by byte at first."""

    def feed() -> None:
        for at in range(100):
            os.write(sink, data[at : at + 1])
        with os.fdopen(sink, "wb") as into:
            into.write(data[100:])

    source, sink = os.pipe()
    feeder = threading.Thread(target=feed)
    feeder.start()
    with os.fdopen(source, "rb") as pipe:
        yield pipe
        feeder.join()


@pytest.mark.parametrize("data", STORED.values(), ids=STORED)
def test_what_a_file_is_shows_in_its_content_and_not_in_its_name(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "capture.txt"
    path.write_bytes(data)
    with open_flows(path) as flows:
        assert values(flows) == values(open_flows(BytesIO(PLAIN)))
        assert (flows.name, flows.damage, flows.cut_off) == (str(path), [], 0)


@pytest.mark.parametrize("data", STORED.values(), ids=STORED)
def test_a_pipe_gives_what_a_file_gives(data: bytes) -> None:
    with piped(data) as pipe, open_flows(pipe) as flows:
        assert values(flows) == values(open_flows(BytesIO(PLAIN)))


def test_the_first_flow_of_a_pipe_is_not_kept_waiting_for_the_second() -> None:
    source, sink = os.pipe()
    with os.fdopen(source, "rb") as pipe, os.fdopen(sink, "wb", 0) as into:
        into.write(a_file(a_flow(1), closed=False))
        flows = open_flows(pipe)
        assert next(flows).id == 1
        into.write(a_file(a_flow(2)))
        assert next(flows).id == 2


def test_a_file_object_is_read_from_where_it_stands(tmp_path: Path) -> None:
    path = tmp_path / "a.flows"
    path.write_bytes(b"prefix" + a_file(a_flow(1, LARGE)))
    with path.open("rb") as file:
        file.seek(6)
        (flow,) = open_flows(file)
        assert flow.response
        assert flow.response.raw_content == LARGE


def test_what_is_unpacked_on_the_fly_is_read_like_a_pipe(tmp_path: Path) -> None:
    path = tmp_path / "a.flows.gz"
    path.write_bytes(gzip.compress(a_file(a_flow(1, LARGE))))
    with gzip.open(path) as file:
        (flow,) = open_flows(file)  # type: ignore[arg-type]  # a BinaryIO in all but name
    assert flow.response
    assert flow.response.raw_content == LARGE


def test_standard_input_is_a_dash(monkeypatch: pytest.MonkeyPatch) -> None:
    class Stdin:
        buffer = BytesIO(a_file(a_flow(5)))

    monkeypatch.setattr(sys, "stdin", Stdin)
    flows = open_flows("-")
    assert (ids(flows), flows.name) == ([5], "standard input")


@pytest.mark.parametrize("data", [b"", zstandard.compress(b"")], ids=["plain", "compressed"])
def test_an_empty_file_holds_no_flows(data: bytes) -> None:
    flows = open_flows(BytesIO(data))
    assert (ids(flows), list(flows.damage)) == ([], [])


@pytest.mark.parametrize("data", [b"GET / HTTP/1.1\r\n\r\n" * 10, b"\x80", bytes(3000), b"\xc9" + bytes(100)])
@pytest.mark.parametrize("pack", [bytes, zstandard.compress], ids=["plain", "compressed"])
def test_what_cannot_be_read_is_refused_with_what_can(data: bytes, pack: type[bytes], tmp_path: Path) -> None:
    path = tmp_path / "text"
    path.write_bytes(pack(data))
    before = len([*Path("/proc/self/fd").iterdir()])
    with pytest.raises(FlowFileError, match=f"{path} is not a flow file, nor anything else that mitmdump can read: "):
        open_flows(path)
    assert len([*Path("/proc/self/fd").iterdir()]) == before


@pytest.mark.parametrize(("name", "reason"), [("absent", "No such file"), (".", "Is a directory")])
@pytest.mark.parametrize("follow", [False, True])
def test_a_file_that_cannot_be_opened_is_named(name: str, reason: str, follow: bool, tmp_path: Path) -> None:
    with pytest.raises(FlowFileError, match=f"{tmp_path / name}: {reason}"):
        open_flows(tmp_path / name, follow=follow)


def test_a_file_whose_beginning_is_damaged_is_read_from_its_first_whole_frame() -> None:
    flows = open_flows(BytesIO(b"garbage" * 1000 + PLAIN))
    assert ids(flows) == [1, 2, 3]
    assert flows.damage == [Damage(0, 7000, "no frame begins here")]


class Letters:
    """A `FlowSource`: a flow for each letter."""

    damage = (Damage(7, 1, "a question mark"),)
    cut_off = passed_over = 0

    def __init__(self, file: BinaryIO, name: str) -> None:
        self.name = name
        self._file = file

    def __iter__(self) -> Iterator[Flow]:
        return (a_flow(letter) for letter in self._file.read()[8:])

    def close(self) -> None:
        self._file.close()


LETTERS = Format("letters", ".txt", lambda head: head.startswith(b"letters"), Letters, lambda: pytest.fail("not asked"))


@pytest.mark.parametrize("pack", [bytes, zstandard.compress], ids=["plain", "compressed"])
def test_formats_of_others_are_recognised(pack: type[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mitmdump.formats.FORMATS", (LETTERS,))
    for flows in (
        open_flows(BytesIO(pack(b"letters?AB"))),
        open_flows(io.BufferedReader(io.BytesIO(pack(b"letters?AB")))),
    ):
        assert (ids(flows), flows.raw, len(flows.damage)) == ([65, 66], None, 1)
    with piped(pack(b"letters?" + b"A" * 5000)) as pipe, open_flows(pipe) as flows:
        assert len(ids(flows)) == 5000


def test_a_format_that_is_only_written_is_not_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mitmdump.formats.FORMATS", (LETTERS._replace(read=None),))
    with pytest.raises(FlowFileError):
        open_flows(BytesIO(b"letters?AB"))


@pytest.mark.parametrize("filter_", ["~u /2$", parse("~u /2$")], ids=["as text", "parsed"])
def test_a_filter_selects_flows_and_spares_decoding_the_others(filter_: str) -> None:
    flows = open_flows(BytesIO(PLAIN), filter=filter_)
    assert (ids(flows), flows.passed_over) == ([2], 2)


def test_a_bad_filter_is_refused() -> None:
    with pytest.raises(FilterError):
        open_flows(BytesIO(PLAIN), filter="~u (")


def test_strict_reading_raises_at_damage_instead_of_going_on() -> None:
    flows = open_flows(BytesIO(a_file(a_flow(1)) + b"?" + a_file(a_flow(2))), strict=True)
    assert next(flows).id == 1
    with pytest.raises(FlowFileError, match="the input is damaged at byte"):
        next(flows)


def test_strict_reading_raises_at_damage_behind_the_last_flow() -> None:
    with pytest.raises(FlowFileError, match="damaged"):
        list(open_flows(BytesIO(PLAIN + b"?"), strict=True))


def test_a_capture_that_was_only_cut_off_is_no_damage_to_strict_readers() -> None:
    written: list[bytes] = []
    SectionWriter(written.append, created=START).start(live(a_flow())).data(Part.RESPONSE, b"he")
    flows = open_flows(BytesIO(b"".join(written)), strict=True)
    assert (ids(flows), flows.cut_off) == ([1], 1)


def test_damage_of_a_compressed_file_is_told_with_the_places_in_it() -> None:
    first, second = zstandard.compress(a_file(a_flow(1))), zstandard.compress(a_file(a_flow(2)))
    flows = open_flows(BytesIO(first + b"garbage" + second))
    assert ids(flows) == [1, 2]
    assert [(damage.offset, damage.size) for damage in flows.damage] == [(len(first), 7)]


def test_damage_inside_of_what_is_compressed_is_told_as_such() -> None:
    flows = open_flows(BytesIO(zstandard.compress(PLAIN + b"?")))
    assert len(ids(flows)) == 3
    assert flows.damage == [Damage(len(PLAIN), 1, "the file ends inside a frame, as unpacked")]


def test_bodies_are_not_in_memory_until_they_are_read(tmp_path: Path) -> None:
    path = tmp_path / "a.flows"
    body = bytes(8 * 1024 * 1024)
    path.write_bytes(a_file(a_flow(1, body)))
    tracemalloc.start()
    with open_flows(path) as flows:
        (flow,) = flows
        assert flow.response
        assert sum(map(len, flow.response.iter_raw())) == len(body)
    assert tracemalloc.get_traced_memory()[1] < 6_000_000
    tracemalloc.stop()


def test_a_hundred_thousand_small_flows_are_read() -> None:
    """R3: in constant memory; how fast, is not for a test to say."""
    one = a_file(a_flow(1), closed=False)

    class Repeated(io.RawIOBase):
        left = 100_000 // 100

        def readable(self) -> bool:
            return True

        def read(self, size: int = -1) -> bytes:
            self.left -= 1
            return one * 100 if self.left >= 0 else b""

    assert sum(flow.id for flow in open_flows(Repeated())) == 100_000  # type: ignore[arg-type]  # a BinaryIO in all but name


def test_reading_and_writing_import_neither_the_network_nor_tls() -> None:
    code = (
        "import sys, io; from mitmdump import *; import mitmdump;"
        "out = io.BytesIO(); FlowWriter(out).close(); list(mitmdump.open_flows(out, filter='~d example.com'));"
        "print({'asyncio', 'OpenSSL', 'cryptography', 'ssl', 'click', 'uvloop'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=Path(mitmdump.__file__).parents[1], capture_output=True, text=True
    )
    assert (done.stdout, done.stderr) == ("set()\n", "")


def test_what_is_public_is_loaded_when_it_is_asked_for() -> None:
    assert all(getattr(mitmdump, name) for name in mitmdump.__all__)
    assert set(mitmdump.__all__) == set(mitmdump._HOME)
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        mitmdump.nonsense  # noqa: B018


def test_importing_the_package_loads_nothing_of_it() -> None:
    code = "import sys, mitmdump; print([name for name in sys.modules if name.startswith('mitmdump.')])"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=Path(mitmdump.__file__).parents[1], capture_output=True, text=True
    )
    assert done.stdout == "[]\n"
