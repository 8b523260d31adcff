"""Floor 3: the proxy itself.

| module | holds |
|---|---|
| `services` | what every connection shares |
| `client` | one client connection: its requests, one after the other |
| `exchange` | one request and its response |
| `tunnel` | CONNECT: what does the client speak in there? TLS is intercepted, the rest relayed |
| `redirected` | transparent mode: a client that a packet filter has sent here |
| `known` | what servers were like lately |
| `relay` | bytes both ways, recorded as a raw connection |
| `upstreams` | the server connections of one client connection |
| `channel` | a codec on a stream |
| `target` | where a request goes |
| `policy` | which connections are intercepted, and which are passed through |
| `onboarding` | http://mitm.it/, the page that offers new clients the CA's certificate |
| `pages` | the pages that we answer ourselves |
"""
