"""Floor 1: protocols as bytes in, events out, and back. No sockets, no event loop, no clock.

| module | holds |
|---|---|
| `events` | the vocabulary that all HTTP versions share |
| `head` | request and status lines, header fields, and the framing that they announce (RFC 9112) |
| `hop` | which fields go on to the next hop |
| `http1` | the HTTP/1 codec, for either role |
| `http2/` | the HTTP/2 codec, for either role |
| `translate` | heads of one HTTP version in the words of the other |
| `handshake` | what two ends of a WebSocket agree on, and what of it we understand |
| `websocket` | the WebSocket codec, for either role |
| `frames` | the frames of WebSocket, taken apart |
| `deflate` | the compression of WebSocket messages, undone |
"""
