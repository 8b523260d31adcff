"""mitmdump: a headless recording proxy for HTTP and HTTPS.

The rooms of the house; an import may only go to a lower floor (tests/test_floors.py holds the same table):

| floor | package | holds |
|---|---|---|
| 0 | `errors`, `model/` | exceptions; flows as plain data |
| 1 | `filter/` | the filter language: operators, parser, staged evaluation |
| 1 | `flowfile/` | the capture file: frames, schema, reader, writer |
| 1 | `formats/` | capture formats of others: HAR, mitmproxy's flow file, JSON Lines |
| 1 | `wire/` | HTTP/1 as bytes in, events out, and back; no sockets, no clock |
| 1 | `tls/` | ClientHello, TLS session over memory BIOs, the CA, certificates and their verification |
| 1 | `settings` | all options, parsed and frozen |
| 2 | `net/` | streams, the listener, upstream connections |
| 2 | `sinks/` | where flows go: the flow file, stdout |
| 3 | `files` | capture files of any format, opened by content, chosen by extension |
| 3 | `proxy/` | one client connection, one exchange, one raw relay |
| 4 | `app`, `job`, `live` | wiring; one run and its outputs; the proxy as a process |
| 4 | `cli`, `log` | the command line; what is said on stderr |
"""

__version__ = "0.1.0"
