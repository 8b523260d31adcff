"""The flow file: what `-w` writes and `-r` reads. man/mitmdump-flows.5 is its normative description.

    with open_flows("out.flows") as flows:
        for flow in flows:
            ...

| module | holds |
|---|---|
| `frame` | frames: lengths, checksums, and finding the next one after damage |
| `packing` | msgpack within bounds |
| `keys` | the keys of every map, one table each |
| `schema` | from the model to maps, and back |
| `upgrade` | one step per older version |
| `writer` | one section of a file |
| `kept` | bytes that stay in the file, or wait in a spool |
| `reader` | frames in, flows out |
"""

from ..model.reading import Damage
from .reader import FlowReader, open_flows, recognise
from .writer import FlowWriter, RunningFlow

__all__ = ["Damage", "FlowReader", "FlowWriter", "RunningFlow", "open_flows", "recognise"]
