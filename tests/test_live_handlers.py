"""What the handlers are told when the proxy stops."""

import asyncio
from types import SimpleNamespace

import pytest
from support.handling import handling
from support.peers import Peer, connected, in_loop
from support.proxying import proxying
from support.transcripts import ask

from mitmdump.errors import PeerError
from mitmdump.live import _Proxy
from mitmdump.log import Log
from mitmdump.settings import Settings


def running(proxy, **settings) -> _Proxy:
    """A proxy as a process, without a door."""
    job = SimpleNamespace(settings=Settings(**settings), log=Log(quiet=True), reopen=None, summary=str, tick=print)
    return _Proxy(job, proxy.services, [], None)


async def stopped(process: _Proxy) -> None:
    process._end()
    await process.run()


@in_loop
async def test_handlers_are_told_of_the_end_after_the_last_flow():
    said, begun = [], asyncio.Event()

    async def wait(_flow):
        begun.set()
        while not proxy.services.stopping:
            await asyncio.sleep(0)
        for _ in range(10):
            await asyncio.sleep(0)
        raise PeerError("no")

    hooks = {"request": wait, "error": lambda _: said.append("error"), "done": lambda: said.append("done")}
    async with proxying(handlers=[handling(**hooks)]) as proxy:
        process, (theirs, ours) = running(proxy), connected()
        process._serve(None, ours)
        client = Peer(theirs)
        await client.sends(ask(b"a.test"))
        await begun.wait()
        await asyncio.gather(stopped(process), client.reads_all())
        await proxy.flow()
        client.closes()
    assert said == ["error", "done"]


@in_loop
async def test_a_handler_that_does_not_come_to_an_end_is_cut_off():
    said = []

    async def wait():
        said.append("begun")
        try:
            await asyncio.Event().wait()
        finally:
            said.append("cut off")

    async with proxying(handlers=[handling(done=wait)]) as proxy:
        await stopped(running(proxy, timeout_stop=0.01))
    assert said == ["begun", "cut off"]


@in_loop
async def test_a_handler_that_fails_at_the_end_does_not_keep_others_from_it(capsys: pytest.CaptureFixture[str]):
    def fail():
        raise PeerError("it did not work out")

    said = []
    async with proxying(handlers=[handling(done=fail), handling(done=lambda: said.append("done"))]) as proxy:
        await stopped(running(proxy))
    assert said == ["done"]
    assert capsys.readouterr().err == "mitmdump: it did not work out\n"
