"""HAR 1.2, the HTTP Archive of browsers, read and written in as little memory as one entry takes.

| module | holds |
|---|---|
| `scanner` | where the entries of a file begin and end |
| `reader`, `decoder` | a file to flows, an entry to a flow |
| `encoder`, `views` | a flow to an entry; what HAR repeats taken apart |
| `target` | a URL to where a request goes |
"""

from __future__ import annotations

import re

from ..base import Format
from .encoder import HarEncoder
from .reader import HarReader

_BEGINNING = re.compile(rb'(?:\xef\xbb\xbf)?\s*\{\s*"log"\s*:\s*\{')


def recognise(head: bytes) -> bool:
    """Does a file that begins so look like HAR? Some programs put a byte order mark before it."""
    return bool(_BEGINNING.match(head))


HAR = Format("HAR", ".har", recognise, HarReader, HarEncoder)
