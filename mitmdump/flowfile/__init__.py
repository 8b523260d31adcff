"""The flow file: what `-w` writes and `-r` reads. man/mitmdump-flows.5 is its normative description.

Files are opened by `mitmdump.files`, which knows other formats, too.

| module | holds |
|---|---|
| `frame` | frames: lengths, checksums, and finding the next one after damage |
| `packing` | msgpack within bounds |
| `keys` | the keys of every map, one table each |
| `schema` | from the model to maps, and back |
| `usual` | the short way back, for most flows |
| `usual_bytes` | the short way there, for most flows |
| `upgrade` | one step per older version |
| `writer` | one section of a file |
| `kept` | frames that stay in the file, or wait in a spool |
| `tail` | where the last whole frame of a file ends, to go on behind it |
| `raw` | a flow as it stands in a file, to be copied |
| `shelf` | a flow that was read before, read again |
| `reader` | frames in, flows out |
| `compressed`, `magic` | files compressed with Zstandard, and how they are told |
"""

from .kept import KeptBody
from .raw import RawFlow
from .reader import FlowReader, holds_frame, recognise
from .shelf import Shelf
from .writer import RunningFlow, SectionWriter

__all__ = ["FlowReader", "KeptBody", "RawFlow", "RunningFlow", "SectionWriter", "Shelf", "holds_frame", "recognise"]
