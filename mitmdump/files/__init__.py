"""Capture files of any format: which format a file has is seen from its content, and for a new one from its name.

    with open_flows("out.flows", filter="~d example.com") as flows, FlowWriter("example.har") as out:
        for flow in flows:
            out.write(flow)

| module | holds |
|---|---|
| `opening` | a file of any format, and the flows in it |
| `peeking` | the first bytes of what cannot be rewound |
| `following` | a flow file that somebody else is still writing |
| `sorting` | the flows of several files in the order of their times |
| `writing` | a new file |
"""

from .following import INTERVAL
from .opening import Flows, open_flows
from .sorting import InOrder, by_time
from .writing import FlowWriter

__all__ = ["INTERVAL", "FlowWriter", "Flows", "InOrder", "by_time", "open_flows"]
