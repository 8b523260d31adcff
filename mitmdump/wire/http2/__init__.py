"""HTTP/2 as a codec (RFC 9113): bytes to events and back, the same class for both roles.

| module | holds |
|---|---|
| `connection` | `Http2`, one connection: what comes out of frames, and what goes into them |
| `heads` | field lists to heads and back, and the rules of RFC 9113 section 8 |
| `frames` | frames cut out of the bytes, and how many of the useless ones a peer may send |
| `library` | what is used of the libraries h2 and hpack, and how |
| `streams` | one stream, and what of all of them waits to leave |
| `limits` | what a peer may make us hold |
| `codes` | error codes |
"""

from .codes import Code
from .connection import Http2
from .limits import Limits

__all__ = ["Code", "Http2", "Limits"]
