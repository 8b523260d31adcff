"""Which hooks are called, in which order, and what comes out of those that fail."""

import asyncio

import pytest
from support.handling import handling

from mitmdump.errors import PeerError, StreamError
from mitmdump.handlers.base import Handler
from mitmdump.handlers.hooks import Hooks

NAMES = [name for name in vars(Handler) if not name.startswith("_")]


def raising(error: BaseException):
    async def hook(*_):
        raise error

    return hook


def test_the_hooks_stand_in_the_order_in_which_they_happen():
    assert NAMES == [
        "client_connected",
        "requestheaders",
        "request",
        "responseheaders",
        "response",
        "websocket_message",
        "tcp_message",
        "error",
        "done",
    ]


@pytest.mark.parametrize("name", NAMES)
def test_only_a_hook_that_somebody_overrides_is_called(name):
    hooks = Hooks([Handler(), handling(**{name: print})])
    assert {other for other in NAMES if getattr(hooks, other)} == {name}


@pytest.mark.parametrize("name", NAMES)
def test_a_hook_that_nobody_overrides_does_nothing(name):
    about = {"client_connected": 1, "done": 0, "tcp_message": 2, "websocket_message": 2}.get(name, 1)
    assert asyncio.run(getattr(Handler(), name)(*range(about))) is None


@pytest.mark.parametrize("name", NAMES)
def test_only_hooks_of_requests_and_responses_concern_exchanges(name):
    expected = name in ("requestheaders", "request", "responseheaders", "response", "error")
    assert Hooks([handling(**{name: print})]).of_exchanges is expected
    assert not Hooks().of_exchanges


def test_handlers_are_called_in_their_order_with_what_it_is_about():
    said = []
    hooks = Hooks([handling(request=lambda flow, n=n: said.append((n, flow))) for n in range(3)])

    async def call():
        for hook in hooks.request:
            await hook("flow")

    asyncio.run(call())
    assert said == [(0, "flow"), (1, "flow"), (2, "flow")]


def test_what_a_handler_means_to_raise_comes_out_as_it_is():
    bugs, error = [], StreamError("no", 418)
    hooks = Hooks([handling(request=raising(error))], bugs.append)
    with pytest.raises(StreamError) as raised:
        asyncio.run(hooks.request[0](None))
    assert raised.value is error
    assert not bugs


def test_a_bug_of_a_handler_is_told_whole_and_passed_on_without_its_text():
    bugs, error = [], ValueError("a secret")
    hooks = Hooks([handling(done=raising(error))], bugs.append)
    with pytest.raises(PeerError, match=r"^a handler of the proxy failed \(ValueError\)$") as raised:
        asyncio.run(hooks.done[0]())
    assert raised.value.status == 500
    assert bugs == [error]


def test_who_is_cancelled_in_a_hook_is_cancelled():
    hooks = Hooks([handling(request=raising(asyncio.CancelledError()))], pytest.fail)
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(hooks.request[0](None))
