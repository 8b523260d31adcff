"""The file of TLS secrets: in NSS's format, for its owner only, and never a reason to fail."""

import re
import stat
from pathlib import Path
from time import time

import pytest
from OpenSSL import SSL
from support.pki import make
from support.tls import connect, make_client, make_server

from mitmdump.errors import OutputError
from mitmdump.tls.authority import Authority
from mitmdump.tls.contexts import Contexts
from mitmdump.tls.keylog import KeyLog
from mitmdump.tls.names import LeafNames

LINE = re.compile(r"[A-Z_0-9]+ [0-9a-f]{64} [0-9a-f]{64,96}")


@pytest.fixture
def authority(tmp_path) -> Authority:
    return Authority.load_or_create(tmp_path / "conf", key_type="ec", now=time())


def sessions(contexts: Contexts, version: int = 0) -> tuple[bytes, bytes]:
    """The random numbers by which one session on each side is told from others."""
    old = SSL.Context(SSL.TLS_CLIENT_METHOD)
    old.set_max_proto_version(version)
    client = make_client(old)
    connect(client, contexts.session_for_client(LeafNames.from_chain((), "a.test"), None, time()))
    ours = contexts.session_for_server("a.test", "a.test", (), time())
    connect(ours, make_server(make("a.test")))
    return client._connection.client_random(), ours._connection.client_random()


def test_the_secrets_of_both_sides_are_appended_for_the_owner_only(authority, tmp_path):
    path = tmp_path / "keys"
    path.write_text("# of before\n")
    path.chmod(0o644)
    randoms = sessions(Contexts(authority, keylog=KeyLog(path, pytest.fail)))
    first, *lines = path.read_text().splitlines()
    assert first == "# of before"
    assert all(LINE.fullmatch(line) for line in lines)
    for random in randoms:
        labels = {line.split()[0] for line in lines if random.hex() in line}
        assert {"CLIENT_HANDSHAKE_TRAFFIC_SECRET", "SERVER_TRAFFIC_SECRET_0"} <= labels
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_tls_1_2_has_its_one_line(authority, tmp_path):
    random, _ = sessions(Contexts(authority, keylog=KeyLog(tmp_path / "keys", pytest.fail)), SSL.TLS1_2_VERSION)
    assert f"CLIENT_RANDOM {random.hex()} " in (tmp_path / "keys").read_text()


def test_without_it_no_secret_is_written_whatever_the_environment_says(authority, tmp_path, monkeypatch):
    monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "keys"))
    sessions(Contexts(authority))
    assert not (tmp_path / "keys").exists()


def test_a_full_disk_is_said_once_and_the_sessions_go_on(authority):
    said: list[str] = []
    sessions(Contexts(authority, keylog=KeyLog(Path("/dev/full"), said.append)))
    assert said == ["cannot write /dev/full: No space left on device; no more TLS secrets are written"]


@pytest.mark.parametrize("make_it", [Path.mkdir, lambda path: path.symlink_to("elsewhere")], ids=["directory", "link"])
def test_a_file_that_cannot_be_written_is_refused(tmp_path, make_it):
    make_it(tmp_path / "keys")
    with pytest.raises(OutputError, match=r"cannot write .*keys: .*\. Choose another file with --keylog"):
        KeyLog(tmp_path / "keys", pytest.fail)
    with pytest.raises(OutputError, match="no such file or directory"):
        KeyLog(tmp_path / "absent" / "keys", pytest.fail)
