"""Where the entries of a HAR file begin and end, found without parsing the rest, in the memory that one entry takes.

A HAR file is one JSON object, {"log": {..., "entries": [{...}, {...}], ...}}, too large to be parsed at once. Outside
strings only brackets matter: the entries are what stands at depth 3, in the array "entries" of the object "log". Each
regular expression below passes over all that is no bracket in one step.

Damage must not cost the entries behind it. Two things are certain even where brackets and quotes no longer match: a
line break never stands inside a string (RFC 8259 section 7), and a line that begins as our encoder begins an entry is
one. At these places the scanner gets into step again.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

# How a line begins on which the encoder has put an entry.
MARK = b'{"startedDateTime":'

# As deep as JSON is found in the wild; whoever walks an entry recursively is safe.
MAX_DEPTH = 100

# An entry is parsed as a whole, which takes some times its size. Browsers keep bodies of up to some 10 MiB.
MAX_ENTRY = 128 * 1024 * 1024

_CHUNK = 256 * 1024

# What is kept of the bytes before a bracket: the key that it belongs to, and white space.
_BEHIND = 128

_NO_BRACKET = re.compile(rb'(?:[^"{}\[\]]++|"(?:[^"\\\n]++|\\[^\n])*+")*+')
_IN_STRING = re.compile(rb'(?:[^"\\\n]++|\\[^\n])*+')
_GAP = re.compile(rb"\s*,?\s*")
_LOG = re.compile(rb'"log"\s*:\s*\Z')
_ENTRIES = re.compile(rb'"entries"\s*:\s*\Z')


class Scanner:
    """The entries of a file, each as its offset and its bytes.

    `read` gives the next bytes of the file, b"" at the end; `damaged` is told offset, size and reason of what is not
    delivered. `found`: there is an array of entries. `end` is the offset behind the last entry, or where the first one
    would be.
    """

    def __init__(self, read: Callable[[int], bytes], damaged: Callable[[int, int, str], object]) -> None:
        self.found = False
        self.end = 0
        self._read = read
        self._damaged = damaged
        self._data = bytearray()
        self._offset = 0  # of the file, where the data begin
        self._at = 0  # in the data
        self._depth = 0
        self._in_log = self._in_entries = self._in_string = False
        self._start: int | None = None  # in the file, of the entry that we are in
        self._flaw = ""  # of that entry

    def __iter__(self) -> Iterator[tuple[int, bytes]]:
        while bracket := self._bracket():
            if bracket in b"{[":
                self._open(bracket)
                continue
            self._depth = max(self._depth - 1, 0)
            if self._start is not None and self._depth == 3:
                yield from self._close_entry(self._start)
            elif self._depth == 2:
                self._in_entries = False
        self._end_of_file()

    @property
    def ends_well(self) -> bool:
        """Was every bracket closed?"""
        return self._depth == 0 and not self._in_string

    def _open(self, bracket: bytes) -> None:
        """Count an opening bracket, which has just been passed."""
        here = self._offset + self._at - 1
        if not (self._in_entries and self._depth == 3 and self._start is None) and self._is_marked(bracket):
            self._leave_damage(here)
        if self._in_entries and self._depth == 3:
            self._check_gap(here)
            self._start, self._flaw = here, ""
        elif self._depth == 2 and self._in_log and bracket == b"[" and self._follows(_ENTRIES):
            self._in_entries = self.found = True
            self.end = here + 1
        elif self._depth == 1:
            self._in_log = self._follows(_LOG)
        self._depth += 1
        if self._depth > MAX_DEPTH:
            self._flaw = f"brackets nested more than {MAX_DEPTH} deep"

    def _close_entry(self, start: int) -> Iterator[tuple[int, bytes]]:
        self._start, self.end = None, self._offset + self._at
        if self._flaw:
            self._damaged(start, self.end - start, self._flaw)
        else:
            yield start, bytes(self._data[start - self._offset : self._at])

    def _is_marked(self, bracket: bytes) -> bool:
        """Does a line of our encoder begin with this bracket?"""
        begin = self._at - 1
        if bracket != b"{" or begin < 1 or self._data[begin - 1] != 0x0A:
            return False
        while len(self._data) < begin + len(MARK) and self._fill():
            begin = self._at - 1
        return self._data.startswith(MARK, begin)

    def _leave_damage(self, here: int) -> None:
        """Out of step, an entry begins: what stands before it is lost."""
        begin = self.end if self._start is None else self._start
        self._damaged(begin, here - begin, self._flaw or "brackets that do not match")
        self._start, self.end = None, here
        self._depth, self._in_log, self._in_entries, self.found = 3, True, True, True

    def _check_gap(self, here: int) -> None:
        """Between entries there is a comma."""
        size = here - self.end
        begin = self._at - 1 - size
        if size and (begin < 0 or not _GAP.fullmatch(self._data, begin, self._at - 1)):
            self._damaged(self.end, size, "something that is no entry")

    def _follows(self, pattern: re.Pattern[bytes]) -> bool:
        """Does the bracket that has just been passed follow this?"""
        return bool(pattern.search(self._data, max(self._at - 1 - _BEHIND, 0), self._at - 1))

    def _bracket(self) -> bytes:
        """Pass the next bracket outside strings, and return it; b"" at the end of the file."""
        while True:
            pattern = _IN_STRING if self._in_string else _NO_BRACKET
            match = pattern.match(self._data, self._at)
            self._at = match.end() if match else self._at
            found = bytes(self._data[self._at : self._at + 1])
            if found in (b"", b"\\") and len(self._data) - self._at < 2:
                if not self._fill():
                    return b""
            elif not self._in_string and found != b'"':
                self._at += 1
                return found
            else:
                self._pass_quote(found)

    def _pass_quote(self, found: bytes) -> None:
        """Go over the quotation mark where a string begins or ends, or out of a string that has none at its end."""
        if self._in_string and found != b'"':
            self._flaw = "a line break inside a string"
            self._at += found == b"\\"
        else:
            self._at += 1
        self._in_string = not self._in_string

    def _fill(self) -> bool:
        """Read on, and let go of what is no longer needed. False at the end of the file."""
        more = self._read(_CHUNK)
        keep = max(self._at - _BEHIND, 0)
        if self._start is not None and not self._flaw:
            keep = self._start - self._offset
            if len(self._data) - keep > MAX_ENTRY:
                self._flaw = f"an entry of more than {MAX_ENTRY >> 20} MiB"
        if keep:
            del self._data[:keep]
            self._offset += keep
            self._at -= keep
        self._data += more
        return bool(more)

    def _end_of_file(self) -> None:
        size = self._offset + len(self._data)
        if self._start is not None:
            self._damaged(self._start, size - self._start, self._flaw or "the file ends inside an entry")
        elif self.found and not self.ends_well:
            self._damaged(self.end, size - self.end, "the file has no end")
