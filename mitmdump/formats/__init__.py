"""Capture formats of others, one module each; `FORMATS` is the table of them."""

from .base import Format
from .har import HAR
from .jsonl import JSONL
from .mitmproxy import MITMPROXY

FORMATS: tuple[Format, ...] = (HAR, JSONL, MITMPROXY)
