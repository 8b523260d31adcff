"""Floor 3: the proxy itself.

| module | holds |
|---|---|
| `services` | what every connection shares |
| `client` | one client connection: its requests, one after the other |
| `http2client` | one client connection that speaks HTTP/2: its requests beside each other |
| `exchange` | one request and its response |
| `heads` | the record of a head, and the head that goes on in its place |
| `handled` | the same with handlers, which may change and answer it |
| `answer` | what a handler has answered, in a server's place |
| `changed` | messages that were changed or made up, made into what can be sent |
| `tunnel` | CONNECT: what does the client speak in there? TLS is intercepted, HTTP understood, the rest relayed |
| `redirected` | transparent mode: a client that a packet filter has sent here |
| `known` | what servers were like lately |
| `relay` | bytes both ways, recorded as a raw connection |
| `websocket` | a WebSocket, relayed as it comes and recorded message by message |
| `upstreams` | the server connections of one client connection |
| `sides` | what an exchange sees of the two that it stands between |
| `channel` | a side that speaks HTTP/1: a codec on a stream |
| `multiplex`, `lane` | sides that share a connection: HTTP/2 |
| `http2server` | one connection to a server that speaks HTTP/2 |
| `inside` | a stream of HTTP/2 as a connection |
| `switching` | what follows when both sides leave HTTP |
| `target` | where a request goes |
| `policy` | which connections are intercepted, and which are passed through |
| `onboarding` | http://mitm.it/, the page that offers new clients the CA's certificate |
| `pages` | the pages that we answer ourselves |
"""
