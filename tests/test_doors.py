"""The sockets listen before what serves clients is loaded, so that nobody is refused meanwhile."""

import socket
import subprocess
import sys
from types import SimpleNamespace

import pytest

from mitmdump import app
from mitmdump.doors import Door, open_doors
from mitmdump.log import Log
from mitmdump.settings import Settings
from mitmdump.settings.texts import Mode


@pytest.fixture
def started(monkeypatch, tmp_path):
    """Run the program to where clients would be served; gives what is there then."""
    found: list[Door] = []

    def start(**values) -> list[Door]:
        run_proxy = lambda _settings, _log, _filters, doors: found.extend(doors) or 0  # noqa: E731
        monkeypatch.setitem(sys.modules, "mitmdump.live", SimpleNamespace(run_proxy=run_proxy))
        assert app.run(Settings(listen_port=0, confdir=tmp_path / "conf", quiet=True, **values)) == 0
        return found

    yield start
    for door in found:
        for sock in door.sockets:
            sock.close()


def test_clients_can_connect_before_anybody_serves_them(started):
    (door,) = started(listen_hosts=("127.0.0.1",))

    socket.create_connection(door.sockets[0].getsockname()).close()


def test_each_mode_has_a_door_of_its_own(started):
    modes = (Mode("regular", "127.0.0.1", 0), Mode("regular", "127.0.0.2", 0))
    doors = started(mode=modes)

    assert [door.mode for door in doors] == list(modes)
    assert [door.sockets[0].getsockname()[0] for door in doors] == ["127.0.0.1", "127.0.0.2"]


def test_without_a_server_there_are_none():
    assert open_doors(Settings(server=False), Log()) == []


def test_opening_them_loads_neither_the_event_loop_nor_tls():
    script = (
        "import sys; import mitmdump.doors;"
        "print(sorted({'asyncio', 'ssl', 'OpenSSL', 'cryptography', 'mitmdump.live'} & sys.modules.keys()))"
    )

    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert done.stdout == "[]\n"
