"""What a sink is: where flows go once a filter has said yes.

stdout and the flow file are both sinks. For one flow the calls come in this order, everything between `begin` and
`finish` any number of times, the parts of a body in the order of its bytes:

    begin(flow)   data(flow, part, bytes)   message(flow, message)   finish(flow)

At `begin` the flow may be as young as a request head, or finished long ago (read from a file, or decided late). What
`data` and `message` bring is not kept in the flow: a sink that wants bytes keeps them itself. At `finish` every field
of the flow that will ever be known is known.
"""

from __future__ import annotations

from ..flowfile.raw import RawFlow
from ..model.flow import Flow, Part
from ..model.message import Message


class Sink:
    """A destination of flows; each hook does nothing until a sink overrides it.

    Any hook may raise OutputError: the output cannot take more, and the caller stops the capture. A sink that does not
    look at bodies says so with `wants_bodies`, which spares everybody their bytes.
    """

    wants_bodies = True

    def begin(self, flow: Flow) -> None:
        """A flow is wanted; its request head (or, of a raw connection, its connections) is known."""

    def data(self, flow: Flow, part: Part, data: bytes) -> None:
        """The next piece of the request's or the response's body has passed."""

    def message(self, flow: Flow, message: Message) -> None:
        """The next message of a WebSocket or a raw connection has passed."""

    def finish(self, flow: Flow) -> None:
        """Nothing more of this flow will come: it is complete, or `flow.error` says why not."""

    def put(self, flow: Flow, raw: RawFlow | None = None) -> None:  # noqa: ARG002  # for those who can copy
        """A whole flow, as it comes from a file; all of the above at once.

        `raw` is how it stands in that file, where it does so just as it is given here: a flow file may copy that.
        Who changes flows on their way to a sink must not hand it on.
        """
        self.begin(flow)
        for part, message in zip(Part, (flow.request, flow.response), strict=True):
            if message is not None and self.wants_bodies:
                for piece in message.body.pieces():
                    self.data(flow, part, piece)
        for each in flow.messages:
            self.message(flow, each)
        self.finish(flow)

    def settle(self) -> None:
        """What was given must not be lost from now on, not even if we are killed.

        Called after `finish`, at the latest at the end of the event loop's turn, and so for several flows at once.
        """

    def tick(self, now: float) -> None:
        """Called about every quarter of a second while flows run; `now` in Unix seconds."""

    def close(self) -> None:
        """No more flows will come."""
