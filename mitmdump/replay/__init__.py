"""Floor 4: what was recorded, come back to life: requests to servers (-C), responses to clients (-S).

| module | holds |
|---|---|
| `serving` | one run of server replay, from its settings to its closing line |
| `client` | the run of a client replay: who sends what when, and what became of it |
| `recordings` | the flows that are sent, in their order |
| `schedule` | when the next one may leave: concurrency, rate, think times |
| `request` | a recorded request, made ready to be sent again |
| `recorded_client` | a recorded request as an exchange sees a client |
| `conversation`, `recorded_websocket` | a recorded raw connection, or WebSocket, again |
| `hearing` | in these, whose turn it is |
| `verify` | what of an answer differs from the recorded one |
| `report` | what became of each request, as JUnit's XML or JSON |
| `progress` | a line on a terminal |
| `dryrun` | what would be sent, and how long it would take |
| `server` | the handler that answers clients out of recordings |
| `match` | what of a request is compared, in the one form that all its spellings have |
| `bodies` | the same of a body: forms and JSON, whatever their order |
| `answers` | where in which file the answer to a request is |
| `nearest` | a request without an answer: what it differs in from those that have one |
| `derived` | HEAD and ranges, answered out of what was recorded for a whole GET |
| `refresh` | dates of a recorded response, moved by the time that has passed |
| `player` | the server's part of a recorded WebSocket, played |
| `cassette` | --record-mode: what a file does not have is recorded into it |
"""
