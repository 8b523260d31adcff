"""Capture formats of others; `FORMATS` is the table of them.

| module | holds |
|---|---|
| `base` | what a format has to bring |
| `har/`, `mitmproxy/` | formats that are read and written |
| `jsonl` | JSON Lines, only written |
| `facts` | what JSON Lines say of a flow, key by key |
| `bodies`, `jsontext` | bodies and other bytes in JSON |
"""

from .base import Format
from .har import HAR
from .jsonl import JSONL
from .mitmproxy import MITMPROXY

FORMATS: tuple[Format, ...] = (HAR, JSONL, MITMPROXY)
