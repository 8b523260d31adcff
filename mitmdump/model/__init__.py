"""Floor 0: flows and what they are made of, as plain data. Standard library only, but for the content codings.

| module | holds |
|---|---|
| `headers` | header fields, ordered and as sent |
| `body` | a message body: its length, and where its bytes are if they were kept |
| `message` | requests, responses, messages of raw connections |
| `connection` | one connection to a client or a server |
| `flow` | a flow, its error |
| `reading` | what readers of any format tell: flows, and the damage between them |
| `url` | taking authorities and URLs apart, strictly, and putting them together |
| `content` | undoing content codings within bounds; bytes to text |
"""
