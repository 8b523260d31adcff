"""Floor 2: the only way to the network for everything above.

| module | holds |
|---|---|
| `stream` | one connection: read, peek, write, drain, start_tls, close; and the time-outs of all of them |
| `wide` | reading much at a time from a peer that has much to send |
| `wakeup` | waiting for bytes without a turn of the event loop, and who goes on first |
| `vigil` | staying awake for a moment after bytes have come |
| `turn` | what is done once, at the end of a turn of the event loop |
| `binding` | listening sockets |
| `listener` | accepting clients, within limits |
| `upstream` | connecting to servers |
| `resolver` | the addresses of names, remembered for a moment |
| `destination/` | where a redirected connection was going, a module a packet filter |
| `loops` | connections that lead back to ourselves |
| `rules` | what a packet filter has to be told (`--print-rules`) |
"""
