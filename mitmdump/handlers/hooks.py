"""Who wants to be called for what, found out once: a hook that nobody overrides costs nothing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from types import TracebackType

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

        self._blaming = _Blaming(on_bug)
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

    def blaming(self) -> _Blaming:
        """Around what a handler does, and what depends on its having done it right. Raises PeerError."""
        return self._blaming

    def _guarded(self, hook: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
        async def call(*about: object) -> None:
            with self._blaming:
                await hook(*about)

        return call


class _Blaming:
    """Tells `on_bug` of an exception, and raises a PeerError in its place; another PeerError goes on as it is.

    Its text goes to clients and into flows, and so has nothing of the exception, where secrets may be.
    """

    __slots__ = ("_on_bug",)

    def __init__(self, on_bug: Callable[[Exception], object]) -> None:
        self._on_bug = on_bug

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if isinstance(error, Exception) and not isinstance(error, PeerError):
            self._on_bug(error)
            raise PeerError(f"a handler of the proxy failed ({type(error).__name__})", 500) from error
