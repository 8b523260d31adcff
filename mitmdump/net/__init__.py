"""Floor 2: the only way to the network for everything above.

| module | holds |
|---|---|
| `stream` | one connection: read, peek, write, drain, start_tls, close; and the time-outs of all of them |
| `listener` | accepting clients, within limits |
| `upstream` | connecting to servers |
"""
