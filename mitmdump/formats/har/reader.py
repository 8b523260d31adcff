"""The flows of a HAR file, one entry after the other."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, BinaryIO

from ...errors import FlowFileError
from ...model.flow import Flow
from ...model.reading import Damage
from .decoder import read_entry
from .scanner import Scanner


class HarReader:
    """The flows of a HAR file; a `model.reading.FlowSource`. An entry that is none is damage, others are delivered.

    Iterating raises FlowFileError where the file cannot be read, or has no entries to speak of.
    """

    def __init__(self, file: BinaryIO, name: str) -> None:
        self.name = name
        self.damage: list[Damage] = []
        self.cut_off = 0  # nothing in a HAR file says that a flow was still running
        self.passed_over = 0  # every entry is parsed
        self._file = file
        self._flows = self._read()

    def __iter__(self) -> Iterator[Flow]:
        return self._flows

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _read(self) -> Iterator[Flow]:
        scanner = Scanner(self._read_some, self._damaged)
        for offset, data in scanner:
            try:
                flow = read_entry(_parse(data))
            except (ValueError, TypeError, OverflowError) as error:
                self._damaged(offset, len(data), f"not an entry: {error}")
                continue
            yield flow
        if not scanner.found:
            raise FlowFileError(f"{self.name} is no HAR file: it has no log.entries")

    def _read_some(self, size: int) -> bytes:
        try:
            return self._file.read(size)
        except OSError as error:
            raise FlowFileError(f"cannot read {self.name}: {error.strerror or error}") from error

    def _damaged(self, offset: int, size: int, reason: str) -> None:
        """Note damage; what adjoins is one, of which the first reason is the cause."""
        last = self.damage[-1] if self.damage else None
        if last and offset - (last.offset + last.size) in (0, 1):
            self.damage[-1] = Damage(last.offset, offset + size - last.offset, last.reason)
        else:
            self.damage.append(Damage(offset, size, reason))


def _parse(data: bytes) -> dict[str, Any]:
    found = json.loads(data.decode(), parse_constant=_refuse)
    if not isinstance(found, dict):
        raise ValueError("not an object")
    return found


def _refuse(word: str) -> None:
    """NaN and the infinities are no JSON (RFC 8259 section 6)."""
    raise ValueError(f"{word} is no number")
