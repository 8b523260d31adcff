"""Handlers out of functions: handling(request=lambda flow: ..., done=...)."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from mitmdump.handlers.base import Handler
from mitmdump.model.body import Body
from mitmdump.model.headers import Headers
from mitmdump.model.message import Response

Action = Callable[..., Any]


def handling(**hooks: Action) -> Handler:
    """A handler that has these hooks, and no others."""

    def method(action: Action) -> Action:
        async def hook(_self: Handler, *about: Any) -> None:
            result = action(*about)
            if inspect.isawaitable(result):
                await result

        return hook

    return type("Handling", (Handler,), {name: method(action) for name, action in hooks.items()})()


def answering(response: Response) -> Action:
    """A hook that answers the client."""

    def hook(flow: Any) -> None:
        flow.response = response

    return hook


def response(content: Any = b"hi", *fields: tuple[bytes, bytes], version: str = "", status: int = 200) -> Response:
    """A response with this body, which may be a `model.body.Source`."""
    body = Body(len(content), complete=True, source=content)
    return Response(version, Headers(fields), body, status_code=status, reason="OK")
