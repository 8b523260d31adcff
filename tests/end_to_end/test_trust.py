"""The CA: how it comes to be, who accepts what it signs, and servers whose certificates are meant to do harm."""

from __future__ import annotations

import os
import re
import shutil
import stat
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from support.clients import Shim, ask, curl, get, open_tls, open_tunnel, trusting
from support.pki import Identity
from support.program import PROGRAM, Proxy, Start
from support.servers import HELLO, ContextOf, Nginx, Peer, Serve, answering
from support.tools import run

CLIENTS = Path(__file__).with_name("clients")
CA_FILES = ("mitmdump-ca.pem", "mitmdump-ca-cert.pem", "mitmdump-ca-cert.cer", "mitmdump-ca-cert.p12")


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


# The confdir


@pytest.mark.parametrize("umask", ["000", "022", "077", "777"])
def test_a_new_ca_is_for_its_owner_only_whatever_the_umask(tmp_path: Path, umask: str) -> None:
    """T1"""
    confdir = tmp_path / "below" / "conf"
    confdir.parent.mkdir()
    with Proxy(tmp_path, "--confdir", confdir, limits=f"umask {umask}") as proxy:
        proxy.expected.append(f"made a CA of your own; clients have to trust {confdir}/mitmdump-ca-cert.pem")
    assert sorted(path.name for path in confdir.iterdir()) == sorted(CA_FILES)
    assert (_mode(confdir), _mode(confdir / "mitmdump-ca.pem")) == (0o700, 0o600)
    for name in CA_FILES[1:]:
        assert _mode(confdir / name) == 0o644
    proxy.close()


def test_programs_that_start_at_once_share_one_ca(tmp_path: Path) -> None:
    """T1"""
    confdir = tmp_path / "conf"
    directories = [tmp_path / f"{number}" for number in range(4)]
    command = [str(PROGRAM), "-p", "0", "--confdir", str(confdir), "--timeout-stop", "1"]
    for directory in directories:
        directory.mkdir()
    options = [["--ready-file", str(directory / "ready.json")] for directory in directories]
    running = [subprocess.Popen([*command, *each], stderr=subprocess.DEVNULL) for each in options]
    deadline = time.monotonic() + 30
    while not all((directory / "ready.json").exists() for directory in directories):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    for process in running:
        process.terminate()
        assert process.wait(20) == 0
    assert sorted(path.name for path in confdir.iterdir()) == sorted(CA_FILES)
    certificate = (confdir / "mitmdump-ca-cert.pem").read_text()
    assert certificate in (confdir / "mitmdump-ca.pem").read_text()


def test_every_installation_has_its_own_ca_and_leaves_have_another_key(
    tmp_path: Path, start: Start, nginx: Nginx
) -> None:
    """T2"""
    serials, keys = set(), set()
    for number in range(2):
        with start("--confdir", tmp_path / f"conf{number}") as proxy:
            proxy.expected.append("made a CA")
            with open_tls(proxy, f"localhost:{nginx.https_port}") as sock:
                leaf = x509.load_der_x509_certificate(sock.getpeercert(True) or b"")
        ca = x509.load_pem_x509_certificate(proxy.ca.read_bytes())
        serials |= {ca.serial_number, leaf.serial_number}
        keys |= {ca.public_key().public_numbers(), leaf.public_key().public_numbers()}
    assert (len(serials), len(keys)) == (4, 4)


def test_no_private_key_is_part_of_the_package() -> None:
    """T2"""
    import mitmdump  # only here is it looked at as a directory

    package = Path(mitmdump.__file__).parent
    files = [path for path in package.rglob("*") if path.is_file() and path.suffix != ".pyc"]
    assert not [path for path in files if re.search(rb"-----BEGIN [A-Z ]*PRIVATE KEY", path.read_bytes())]


def test_a_confdir_of_mitmproxys_is_used_as_it_is(tmp_path: Path, start: Start, nginx: Nginx) -> None:
    confdir = tmp_path / "mitmproxy"
    confdir.mkdir()
    key, certificate = confdir / "key", confdir / "certificate"
    extensions = ("-addext", "keyUsage=critical,keyCertSign,cRLSign", "-addext", "extendedKeyUsage=serverAuth")
    new = ("-x509", "-newkey", "rsa:2048", "-nodes", "-days", "100", "-subj", "/CN=mitmproxy/O=mitmproxy")
    run("openssl", "req", *new, *extensions, "-keyout", key, "-out", certificate)
    both = confdir / "mitmproxy-ca.pem"
    both.touch(mode=0o600)
    both.write_bytes(key.read_bytes() + certificate.read_bytes())
    before = both.read_bytes()
    with start("--confdir", confdir) as proxy:
        done = curl(proxy, nginx.https + "/echo", "--cacert", certificate)
    assert done.stdout == b"GET /echo \n"
    assert both.read_bytes() == before
    assert sorted(path.name for path in confdir.iterdir()) == ["certificate", "key", "mitmproxy-ca.pem"]


# Who accepts it


def _newest_python() -> str:
    """The newest Python 3.13 or later there is: its defaults are the strictest."""
    pyenv = Path(sys.base_prefix).parent  # where pyenv, if it is in use, keeps its versions
    places = [*map(str, pyenv.glob("3.*/bin")), *os.environ.get("PATH", "").split(":")]
    found = [shutil.which(f"python3.{minor}", path=":".join(places)) for minor in range(20, 12, -1)]
    newest = next((path for path in found if path), None)
    if newest is None:
        pytest.fail("no Python 3.13 or later is installed, and this test needs one")
    return newest


@pytest.mark.parametrize("ca_key", ["ec", "rsa"])
@pytest.mark.parametrize("client", ["java", "go", "python"])
def test_a_strict_client_accepts_our_chain(
    start: Start, nginx: Nginx, tmp_path: Path, client: str, ca_key: str
) -> None:
    """T5"""
    with start("--confdir", tmp_path / "conf", "--ca-key", ca_key) as proxy:
        proxy.expected.append("made a CA")
        arguments = [str(proxy.port), proxy.ca, nginx.https + "/echo"]
        commands = {
            "java": ["java", "-Xshare:auto", "-XX:TieredStopAtLevel=1", CLIENTS / "Fetch.java"],
            "go": ["go", "run", CLIENTS / "fetch.go"],
            "python": [_newest_python(), CLIENTS / "fetch.py"],
        }
        done = run(*commands[client], *arguments, seconds=120)
    assert done.stdout == b"GET /echo \n"
    assert proxy.flow().client_conn.sni == "localhost"


def test_gnutls_accepts_our_chain(start: Start, nginx: Nginx) -> None:
    """T5"""
    with start() as proxy, Shim(proxy, f"localhost:{nginx.https_port}") as shim:
        options = ("--sni-hostname", "localhost", "--verify-hostname", "localhost", "--x509cafile", proxy.ca)
        request = get("localhost", "/echo", "Connection: close")
        done = run("gnutls-cli", *options, "-p", str(shim.port), "127.0.0.1", stdin=request)
    assert b"The certificate is trusted" in done.stdout
    assert b"GET /echo" in done.stdout


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_openssl_accepts_our_chain_in_its_strictest_mode(start: Start, nginx: Nginx, version: str) -> None:
    """T5"""
    with start() as proxy:
        strict = ("-x509_strict", "-verify_return_error", "-verify_hostname", "localhost", "-purpose", "sslserver")
        to = ("-proxy", f"127.0.0.1:{proxy.port}", "-connect", f"localhost:{nginx.https_port}", version)
        request = get("localhost", "/echo", "Connection: close")
        trust = ("-CAfile", proxy.ca, "-no-CApath", "-no-CAstore", "-ign_eof")
        done = run("openssl", "s_client", *to, *trust, *strict, stdin=request)
    assert b"Verify return code: 0 (ok)" in done.stdout
    assert b"GET /echo" in done.stdout


# Servers whose certificates are meant to do harm


def _key_of_15_636_bits() -> rsa.RSAPrivateKey:
    """An RSA key near OpenSSL's limit, made at once out of two Mersenne primes."""
    p, q, e = 2**11213 - 1, 2**4423 - 1, 65537
    d = pow(e, -1, (p - 1) * (q - 1))
    public = rsa.RSAPublicNumbers(e, p * q)
    numbers = rsa.RSAPrivateNumbers(p, q, d, d % (p - 1), d % (q - 1), pow(q, -1, p), public)
    return numbers.private_key(unsafe_skip_rsa_key_validation=True)


def _many_names() -> list[x509.GeneralName]:
    return [x509.DNSName(f"{number}.a") for number in range(10_000)] + [x509.DNSName("localhost")]


@pytest.mark.parametrize("case", ["10,000 names", "empty common name", "NUL in a name", "key of 15,636 bits"])
def test_an_odd_certificate_does_no_harm(
    start: Start, serve: Serve, root: Identity, context_of: ContextOf, case: str
) -> None:
    """T12"""
    accepted = {"10,000 names": True, "empty common name": True, "NUL in a name": False, "key of 15,636 bits": True}
    identity = {
        "10,000 names": lambda: root.issue(common_name="many", alternatives=_many_names()),
        "empty common name": lambda: root.issue("localhost", common_name=""),
        "NUL in a name": lambda: root.issue(common_name="", alternatives=[x509.DNSName("localhost\0.example.com")]),
        "key of 15,636 bits": lambda: root.issue("localhost", key=_key_of_15_636_bits()),
    }[case]()
    server = serve(answering(HELLO), context_of(identity))
    authority = f"localhost:{server.port}"
    with start() as proxy:
        begin = time.monotonic()
        with open_tls(proxy, authority) as sock:
            answer, page = ask(sock, get(authority))
        assert time.monotonic() - begin < 20
        assert proxy.memory("VmHWM") < 120 << 20
    assert (answer.status == 200) is accepted[case], page
    assert (proxy.flow().error is None) is accepted[case]


def test_a_certificate_of_a_megabyte_is_a_clean_failure(
    start: Start, serve: Serve, root: Identity, context_of: ContextOf
) -> None:
    """T12"""
    names: list[x509.GeneralName] = [x509.DNSName(f"{number:060}.example.com") for number in range(14_000)]
    identity = root.issue(common_name="large", alternatives=names)
    assert len(identity.der) > 1_000_000
    server = serve(answering(HELLO), context_of(identity))
    authority = f"localhost:{server.port}"
    with start() as proxy, open_tls(proxy, authority) as sock:
        answer, _ = ask(sock, get(authority))
        assert answer.status == 502
        assert proxy.memory("VmHWM") < 120 << 20
    assert proxy.flow().error


def _server_hello(certificate: bytes) -> bytes:
    """What a TLS 1.2 server sends first, with any bytes as its certificate (RFC 5246 section 7.4)."""

    def message(kind: int, content: bytes) -> bytes:
        return bytes([kind]) + struct.pack(">I", len(content))[1:] + content

    entry = struct.pack(">I", len(certificate))[1:] + certificate
    hello = b"\x03\x03" + bytes(32) + b"\0" + b"\xc0\x2b" + b"\0"  # ECDHE-ECDSA-AES128-GCM-SHA256
    hello += b"\x00\x05\xff\x01\x00\x01\x00"  # renegotiation_info, empty
    flight = message(2, hello) + message(11, struct.pack(">I", len(entry))[1:] + entry) + message(14, b"")
    return b"\x16\x03\x03" + struct.pack(">H", len(flight)) + flight


@pytest.mark.parametrize("broken", [b"\x30\x82\xff\xff" + b"\x00" * 100, b"", b"\xff" * 1000, b"\x30\x80" * 2000])
def test_a_certificate_that_is_none_is_a_clean_failure(start: Start, serve: Serve, broken: bytes) -> None:
    """T12"""

    def script(server: Peer) -> None:
        server.read(5)
        server.send(_server_hello(broken))
        server.read_all()

    server = serve(script)
    authority = f"localhost:{server.port}"
    with start() as proxy, open_tls(proxy, authority) as sock:
        answer, page = ask(sock, get(authority))
        assert answer.status == 502
        assert b"TLS" in page
    assert proxy.flow().error


def test_one_hosts_leaf_is_never_shown_for_another(
    start: Start, serve: Serve, intermediate: Identity, context_of: ContextOf
) -> None:
    """T14"""
    a = serve(answering(HELLO), context_of(intermediate.issue("a.test")))
    b = serve(answering(HELLO), context_of(intermediate.issue("b.test")))
    with start() as proxy:
        shown = []
        for server, name in ((a, "a.test"), (b, "b.test"), (a, "a.test"), (b, "b.test")):
            tunnel = open_tunnel(proxy, f"127.0.0.1:{server.port}")
            with trusting(proxy.ca).wrap_socket(tunnel, server_hostname=name) as sock:
                shown.append({value for _, value in (sock.getpeercert() or {})["subjectAltName"]})
    assert shown == [{"a.test"}, {"b.test"}, {"a.test"}, {"b.test"}]


def test_the_wrong_roots_file_is_refused_at_the_start(tmp_path: Path, confdir: Path) -> None:
    empty = tmp_path / "empty.pem"
    empty.write_text("nothing in here\n")
    command = [PROGRAM, "-p", "0", "--confdir", confdir, "--upstream-ca", empty]
    done = run(*command, status=2)
    assert done.stderr.startswith(b"mitmdump: ")
    assert b"empty.pem" in done.stderr
