"""mitmproxy's flow file: read in every version since 0.9 (2013), written in the one of mitmproxy 11 and 12.

| module | holds |
|---|---|
| `tnetstring` | typed netstrings, the syntax; large values stay in the file |
| `frames` | where in a file the flows are, also after damage |
| `state` | the dicts of all versions, every value checked |
| `decode`, `messages`, `dns` | from those dicts to the model |
| `reader` | the flows of a file |
| `encoder` | from the model to the newest of those dicts |
"""

from ..base import Format
from .encoder import MitmproxyEncoder
from .frames import recognise
from .reader import MitmproxyReader

MITMPROXY = Format("mitmproxy's flow file", ".mitm", recognise, MitmproxyReader, MitmproxyEncoder)

__all__ = ["MITMPROXY", "MitmproxyEncoder", "MitmproxyReader"]
