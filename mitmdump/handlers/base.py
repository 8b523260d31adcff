"""What a handler is: somebody who may look at a live flow, change it, answer it, or wait, before it goes on.

A handler overrides the hooks that it needs. They are called in the order in which they stand here, and the flow goes on
when they have returned. What a sink is told afterwards, and what a filter decides on, is what was passed on in the end,
so a recording shows the changes.

- In `requestheaders` and `responseheaders` the body is still to come: the head can be changed there, but not how the
  body is framed, nor in which version of HTTP it came.
- In `request` and `response` the message is complete, and is passed on only afterwards, with the body that it has then:
  `message.body.source` may be set to other bytes, or to a `model.body.Source`, which is sent from where it lies, and
  Content-Length follows. A message is collected only where somebody overrides these; a request that was collected can
  still be looked at in the hooks of its response. Bodies can be read until the exchange is over.
- A request goes where its scheme, host and port say; authority and Host follow them, unless they are changed, too.
- A handler that sets `flow.response` in `requestheaders` or `request` answers the client itself: no server is asked,
  and the hooks of the response are not called. The body is as above.
- A message that is `dropped` after `websocket_message` or `tcp_message` is neither passed on nor recorded.
"""

from __future__ import annotations

from ..model.connection import Connection
from ..model.flow import Flow
from ..model.message import Message


class Handler:
    """Hooks into live flows; each does nothing until a handler overrides it.

    A PeerError raised in a hook ends the exchange as if a peer had broken it: the client gets its status and text.
    Anything else is a bug of the handler and ends the exchange likewise, with a status of 500; others go on.
    """

    async def client_connected(self, connection: Connection) -> None:
        """A client has connected."""

    async def requestheaders(self, flow: Flow) -> None:
        """The head of a request has come, and nothing has been passed on."""

    async def request(self, flow: Flow) -> None:
        """A request is complete, and nothing has been passed on."""

    async def responseheaders(self, flow: Flow) -> None:
        """The head of a response has come, and has not been passed on."""

    async def response(self, flow: Flow) -> None:
        """A response is complete, and nothing of it has been passed on. One of status 101 is its head."""

    async def websocket_message(self, flow: Flow, message: Message) -> None:
        """A text or binary message of a WebSocket is complete, and has not been passed on."""

    async def tcp_message(self, flow: Flow, message: Message) -> None:
        """Bytes of a raw connection have come, and have not been passed on. Their borders mean nothing."""

    async def error(self, flow: Flow) -> None:
        """A flow has ended before it was complete: `flow.error` says why.

        Its `response` is None if nothing of one was passed on, its `request` if that could not be read. Flows that are
        cut off when the proxy stops have no such call.
        """

    async def done(self) -> None:
        """No more flows will come. What takes longer than `timeout_stop` is cut off."""
