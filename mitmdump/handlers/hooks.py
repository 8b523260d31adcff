"""Who wants to be called for what, found out once: a hook that nobody overrides costs nothing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager

from ..errors import PeerError
from ..model.connection import Connection
from ..model.flow import Flow
from ..model.message import Message
from .base import Handler

OfFlow = Callable[[Flow], Awaitable[None]]
OfMessage = Callable[[Flow, Message], Awaitable[None]]


class Hooks:
    """The hooks of some handlers: under the name of each, a tuple of those that are overridden, in order.

    Whatever a handler raises comes out as a PeerError; `on_bug` is told of what it did not mean to raise.
    """

    def __init__(
        self, handlers: Sequence[Handler] = (), on_bug: Callable[[Exception], object] = lambda _: None
    ) -> None:
        def overridden(name: str) -> tuple[Callable[..., Awaitable[None]], ...]:
            default = getattr(Handler, name)
            return tuple(
                self._guarded(getattr(each, name)) for each in handlers if getattr(type(each), name) is not default
            )

        self._on_bug = on_bug
        self.client_connected: tuple[Callable[[Connection], Awaitable[None]], ...] = overridden("client_connected")
        self.requestheaders: tuple[OfFlow, ...] = overridden("requestheaders")
        self.request: tuple[OfFlow, ...] = overridden("request")
        self.responseheaders: tuple[OfFlow, ...] = overridden("responseheaders")
        self.response: tuple[OfFlow, ...] = overridden("response")
        self.websocket_message: tuple[OfMessage, ...] = overridden("websocket_message")
        self.tcp_message: tuple[OfMessage, ...] = overridden("tcp_message")
        self.error: tuple[OfFlow, ...] = overridden("error")
        self.done: tuple[Callable[[], Awaitable[None]], ...] = overridden("done")
        # Does anybody want to be called for requests and responses?
        self.of_exchanges = bool(
            self.requestheaders or self.request or self.responseheaders or self.response or self.error
        )

    @contextmanager
    def blaming(self) -> Iterator[None]:
        """Around what a handler does, and what depends on its having done it right. Raises PeerError.

        The error's text goes to clients and into flows, and so has nothing of the exception, where secrets may be.
        """
        try:
            yield
        except PeerError:
            raise
        except Exception as error:
            self._on_bug(error)
            raise PeerError(f"a handler of the proxy failed ({type(error).__name__})", 500) from error

    def _guarded(self, hook: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
        async def call(*about: object) -> None:
            with self.blaming():
                await hook(*about)

        return call
