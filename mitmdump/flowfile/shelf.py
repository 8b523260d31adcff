"""Flows that a reader has passed, read again one at a time: for those who keep places instead of flows."""

from __future__ import annotations

from ..errors import FlowFileError
from ..model.connection import Connection
from ..model.flow import Flow
from .kept import OnDisk
from .packing import unpack
from .schema import read_flow


class Shelf:
    """The flows of a file, by the place and the size of the content of their final FLOW frames (see `RawFlow`).

    What stands in frames of its own is not there: large bodies, messages, and the facts of connections.
    """

    __slots__ = ("_disk",)

    def __init__(self, disk: OnDisk) -> None:
        self._disk = disk

    def take(self, place: int, size: int) -> Flow:
        """The flow at a place. Raises FlowFileError where it can no longer be had."""
        content = self._disk.read(place, size)
        try:
            return read_flow(unpack(content), _unknown)[0]
        except (ValueError, TypeError):  # it was sound when the reader passed it
            raise FlowFileError(f"{self._disk.name} was changed while it was read, at byte {place}") from None


def _unknown(connection_id: int, side: str) -> Connection:
    return Connection("client" if side == "client" else "server", connection_id)
