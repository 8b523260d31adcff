"""Floor 3: the proxy itself.

| module | holds |
|---|---|
| `services` | what every connection shares |
| `client` | one client connection: its requests, one after the other |
| `exchange` | one request and its response |
| `tunnel` | CONNECT: what does the client speak in there? TLS is intercepted, the rest relayed |
| `relay` | bytes both ways, recorded as a raw connection |
| `upstreams` | the server connections of one client connection |
| `channel` | a codec on a stream |
| `target` | where a request goes |
| `pages` | the pages that we answer ourselves |
"""
