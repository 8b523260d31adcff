"""The flows of several captures in the order in which they began.

A capture holds flows in the order in which they ended, so the first to have begun may be the last in its file. All are
copied to a temporary file first, each as a section of its own, which can be read by itself; in memory there are a time
and a place for each. The file takes as much room as the captures do, in TMPDIR.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from io import BytesIO
from typing import BinaryIO, cast

from ..errors import OutputError
from ..flowfile import FlowReader, RawFlow, SectionWriter
from ..model.flow import Flow

Pair = tuple[Flow, RawFlow | None]

# A section that is not read in pieces, in bytes.
_SMALL = 64 * 1024


def by_time(flows: Iterable[Pair]) -> Iterator[Pair]:
    """All of these flows, each with how it stands in a file if it does, by the time of their begin.

    Bodies can be read until the next flow is taken. All flows are taken before this returns. Raises OutputError where
    there is no room for them.
    """
    from tempfile import TemporaryFile  # here, as most runs never need it

    times, places = array("d"), array("Q", [0])  # the end of one is the beginning of the next
    file = cast(BinaryIO, TemporaryFile())  # noqa: SIM115  # closed with the last flow
    try:
        for flow, raw in flows:
            times.append(flow.timestamp_start)
            writer = SectionWriter(file.write, created=flow.timestamp_start)
            if raw is None:
                writer.add(flow)
            else:
                writer.copy(raw)
            places.append(file.tell())
        file.flush()
    except BaseException as error:
        file.close()
        if isinstance(error, OSError):
            raise OutputError(
                f"cannot keep flows to sort them: {error.strerror}. Set TMPDIR to a directory with more room"
            ) from error
        raise
    return _sorted(file, times, places)


def _sorted(file: BinaryIO, times: array[float], places: array[int]) -> Iterator[Pair]:
    with file:
        for index in sorted(range(len(times)), key=times.__getitem__):
            file.seek(places[index])
            size = places[index + 1] - places[index]
            # A reader of the file itself reads ahead, which costs much more than a small flow does.
            reader = FlowReader(BytesIO(file.read(size)) if size <= _SMALL else file, name="the temporary file")
            yield next(reader), reader.raw
