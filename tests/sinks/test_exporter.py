from __future__ import annotations

import errno
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import pytest
import zstandard
from support.flowfiles import START, a_flow, a_tcp_flow, live

from mitmdump.errors import FlowFileError, OutputError
from mitmdump.formats.base import Format
from mitmdump.model.flow import Flow, Part
from mitmdump.model.message import Message
from mitmdump.sinks import exporter, output
from mitmdump.sinks.exporter import Exporter
from mitmdump.sinks.filesink import Options
from mitmdump.sinks.recorder import Recorder, make_recorder
from mitmdump.sinks.series import Rotation
from mitmdump.sinks.spool import Spool


class Brackets:
    """Flows as <id:request body:response body:messages>, between { and }."""

    tail = b"}"

    def __init__(self) -> None:
        self.left_out: Counter[str] = Counter()

    def head(self) -> bytes:
        return b"{"

    def flow(self, flow: Flow) -> Iterator[bytes]:
        if flow.kind == "udp":
            self.left_out["UDP flows"] += 1
            return
        yield b"<%d:" % flow.id
        for message in (flow.request, flow.response):
            if message and message.body.source is None:
                yield b"?"
            elif message:
                yield from message.body.pieces()
            yield b":"
        yield b",".join(message.content for message in flow.messages) + b">"

    def resume(self, file: BinaryIO) -> int:
        data = file.read()
        if not data.startswith(b"{"):
            raise FlowFileError("it has no brackets")
        return max(data.rfind(b">"), 0) + 1


class Bare(Brackets):
    tail = b""


BRACKETS = Format("brackets", ".br", lambda head: head[:1] == b"{", None, Brackets)
BARE = BRACKETS._replace(name="bare", encoder=Bare)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "out.br"


def export(path: Path, format_: Format = BRACKETS, **options: Any) -> Exporter:
    return Exporter(str(path), format_, Options(clock=lambda: START, **options))


def record(exported: Exporter, number: int, *pieces: bytes) -> None:
    flow = live(a_flow(number, b"".join(pieces)))
    exported.begin(flow)
    for piece in pieces:
        exported.data(flow, Part.RESPONSE, piece)
    exported.finish(flow)


def count_writes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    sizes: list[int] = []
    write, pwrite = os.write, os.pwrite

    def counted(fd: int, data: bytes) -> int:
        sizes.append(len(data))
        return write(fd, data)

    def counted_at(fd: int, data: bytes, at: int) -> int:
        sizes.append(len(data))
        return pwrite(fd, data, at)

    monkeypatch.setattr(output.os, "write", counted)
    monkeypatch.setattr(output.os, "pwrite", counted_at)
    return sizes


def test_a_file_is_valid_before_the_first_flow_and_after_each(path: Path) -> None:
    exported = export(path)
    seen = [path.read_bytes()]
    for number in (1, 2):
        record(exported, number, b"a", b"b")
        seen.append(path.read_bytes())
    exported.close()
    assert seen == [b"{}", b"{<1::ab:>}", b"{<1::ab:><2::ab:>}"]
    assert path.read_bytes() == seen[-1]
    assert (exported.flows, exported.written) == (2, len(seen[-1]))


def test_a_flow_and_the_tail_behind_it_are_one_write(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    exported = export(path)
    writes = count_writes(monkeypatch)
    record(exported, 1, b"a", b"b")
    assert writes == [len(b"<1::ab:>}")]


def test_flows_that_run_side_by_side_are_kept_apart(path: Path) -> None:
    exported, one, two = export(path), live(a_flow(1, b"aa")), live(a_flow(2, b"bb"))
    for flow in (one, two):
        exported.begin(flow)
    for flow, data in ((one, b"a"), (two, b"b"), (one, b"a"), (two, b"b")):
        exported.data(flow, Part.RESPONSE, data)
    exported.finish(two)
    exported.finish(one)
    assert path.read_bytes() == b"{<2::bb:><1::aa:>}"


def test_messages_are_in_the_record(path: Path) -> None:
    exported, flow = export(path), a_tcp_flow()
    exported.begin(flow)
    for content in (b"a", b"", b"c"):
        exported.message(flow, Message(True, "raw", START, content))
    exported.finish(flow)
    assert path.read_bytes() == b"{<1:::a,,c>}"


def test_a_body_that_nobody_saw_is_not_an_empty_body(path: Path) -> None:
    exported, flow = export(path), live(a_flow(1, b"hello"))
    exported.begin(flow)
    exported.finish(flow)
    assert path.read_bytes() == b"{<1::?:>}"


def test_nothing_is_left_in_the_flow(path: Path) -> None:
    exported, flow = export(path), live(a_flow(1, b"x"))
    exported.begin(flow)
    exported.data(flow, Part.RESPONSE, b"x")
    exported.message(flow, Message(True, "text", START, b"x"))
    exported.finish(flow)
    assert flow.request and flow.response
    assert (flow.request.body.source, flow.response.body.source, flow.messages) == (None, None, ())
    assert not exported._running


def test_a_flow_from_a_file_is_written_from_what_it_holds(path: Path) -> None:
    exported = export(path)
    exported.put(a_flow(1, b"x"))
    exported.put(a_tcp_flow(2, b"a", b"b"))
    assert path.read_bytes() == b"{<1::x:><2:::a,b>}"


def test_a_large_flow_takes_little_memory_and_a_few_writes(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """R1"""
    monkeypatch.setattr(exporter, "BATCH", 100_000)
    exported = export(path)
    writes = count_writes(monkeypatch)
    record(exported, 1, *[bytes(50_000)] * 9)
    assert path.read_bytes() == b"{<1::" + bytes(450_000) + b":>}"
    assert len(writes) <= 5
    assert max(writes) < 200_000


def test_what_the_format_cannot_hold_is_said_at_the_end_and_not_counted(path: Path) -> None:
    exported = export(path, rotation=Rotation(flows=1))
    for number, kind in ((1, "udp"), (2, "http"), (3, "udp")):
        flow = a_flow(number)
        flow.kind = kind  # type: ignore[assignment]
        exported.put(flow)
    exported.close()
    assert exported.flows == 1
    assert exported.notes == [f"{path}: 2 UDP flows cannot be held by brackets"]


def test_flows_that_have_not_ended_are_written_at_the_end(path: Path) -> None:
    exported, flow = export(path), live(a_flow(1, b"hello"))
    exported.begin(flow)
    exported.data(flow, Part.RESPONSE, b"hel")
    exported.close()
    assert path.read_bytes() == b"{<1::hel:>}"


def test_appending_goes_on_before_the_tail(path: Path) -> None:
    for number in (1, 2):
        exported = export(path, append=True)
        record(exported, number, b"x")
        exported.close()
    assert path.read_bytes() == b"{<1::x:><2::x:>}"


def test_a_file_that_is_continued_is_valid_before_the_next_flow_comes(path: Path) -> None:
    path.write_bytes(b"{<1::x:><2:tor")
    export(path, append=True)
    assert path.read_bytes() == b"{<1::x:>}"


def test_a_file_of_another_kind_is_not_continued(path: Path) -> None:
    path.write_bytes(b"precious")
    with pytest.raises(OutputError, match="cannot append to .*out.br: it has no brackets"):
        export(path, append=True)
    assert path.read_bytes() == b"precious"


def test_each_file_of_a_series_is_whole(tmp_path: Path) -> None:
    exported = export(tmp_path / "out.br", rotation=Rotation(flows=2))
    for number in (1, 2, 3):
        record(exported, number)
    exported.close()
    found = {each.name: each.read_bytes() for each in tmp_path.iterdir()}
    assert found == {"out-00001.br": b"{<1:::><2:::>}", "out-00002.br": b"{<3:::>}"}


def test_down_a_pipe_the_tail_comes_last(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    reader = os.open(tmp_path / "fifo", os.O_RDONLY | os.O_NONBLOCK)
    exported = export(tmp_path / "fifo")
    record(exported, 1)
    assert os.read(reader, 100) == b"{<1:::>"
    exported.close()
    assert os.read(reader, 100) == b"}"
    os.close(reader)


def test_a_full_disk_leaves_a_valid_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """S3"""
    exported = export(path)
    record(exported, 1, b"x")
    pwrite = os.pwrite

    def full(fd: int, data: bytes, at: int) -> int:
        if at + len(data) > 40:
            raise OSError(errno.ENOSPC, "No space left on device")
        return pwrite(fd, data, at)

    monkeypatch.setattr(output.os, "pwrite", full)
    with pytest.raises(OutputError, match="Make room"):
        record(exported, 2, bytes(100))
    record(exported, 3)
    exported.close()
    assert path.read_bytes() == b"{<1::x:>}"
    assert exported.flows == 1


def test_a_large_flow_that_fails_on_its_way_is_cut_off_again(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """S3"""
    monkeypatch.setattr(exporter, "BATCH", 10)
    exported = export(path)
    record(exported, 1, b"x")
    write = os.write

    def full(fd: int, data: bytes) -> int:
        if b">" in data:  # the last of it; there is room again once it has been cut off
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(fd, data)

    monkeypatch.setattr(output.os, "write", full)
    with pytest.raises(OutputError, match="Make room"):
        record(exported, 2, bytes(100))
    exported.close()
    assert path.read_bytes() == b"{<1::x:>}"


def test_a_body_that_cannot_be_read_leaves_a_valid_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Gone:
        def __len__(self) -> int:
            return 100

        def pieces(self) -> Iterator[bytes]:
            yield bytes(50)
            raise FlowFileError("gone")

    monkeypatch.setattr(exporter, "BATCH", 10)
    exported, flow = export(path), a_flow(1)
    assert flow.response
    flow.response.body.source = Gone()
    with pytest.raises(FlowFileError, match="gone"):
        exported.put(flow)
    exported.put(a_flow(2, b"x"))
    assert path.read_bytes() == b"{<2::x:>}"


def test_a_spool_that_is_full_is_said_with_advice(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Spool, "add", full)
    exported = export(path)
    with pytest.raises(OutputError, match="cannot keep a flow .*No space left.*TMPDIR"):
        record(exported, 1, b"x")
    record(exported, 2)
    exported.close()
    assert path.read_bytes() == b"{}"


def test_a_format_whose_end_is_rewritten_is_not_compressed(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="brackets has an end that is written again.*Compress it afterwards"):
        export(tmp_path / "out.br.zst")
    assert not list(tmp_path.iterdir())


def test_any_other_format_may_be_compressed(tmp_path: Path) -> None:
    exported = export(tmp_path / "out.br.zst", BARE)
    record(exported, 1)
    exported.close()
    with (tmp_path / "out.br.zst").open("rb") as file, zstandard.ZstdDecompressor().stream_reader(file) as reader:
        assert reader.read() == b"{<1:::>"


@pytest.mark.parametrize(
    ("name", "format_"),
    [
        ("a.flows", None),
        ("a", None),
        ("a.b", None),
        ("a.flows.zst", None),
        ("a.har", "HAR"),
        ("a.HAR", "HAR"),
        ("a.jsonl", "JSON Lines"),
        ("a.jsonl.zst", "JSON Lines"),
        ("a.mitm", "mitmproxy"),
    ],
)
def test_the_extension_chooses_the_format(name: str, format_: str | None, tmp_path: Path) -> None:
    made = make_recorder(str(tmp_path / name))
    made.close()
    if format_ is None:
        assert isinstance(made, Recorder)
    else:
        assert isinstance(made, Exporter)
        assert format_ in made._format.name
