"""http://mitm.it/: the CA's certificate in each form, from the proxy itself."""

import plistlib
import subprocess
from html.parser import HTMLParser
from time import time

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, pkcs12
from httplint import HttpResponseLinter
from httplint.note import levels
from support.codec import make_codec, read, write
from support.peers import in_loop
from support.proxying import contexts, proxying, trusting
from support.tls import make_client
from support.transcripts import ESTABLISHED, OK, answered_page, ask, request

from mitmdump.proxy import tunnel as module
from mitmdump.proxy.onboarding import DOWNLOADS, answer
from mitmdump.wire.events import Data, Role
from mitmdump.wire.http1 import Http1

HOST = b"mitm.it"


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    """Servers that speak first are given their chance at once."""
    monkeypatch.setattr(module, "GREETING_SECONDS", 0.02)


def fetched(path: str):
    """A page's head and body."""
    head, *rest = answer(path, contexts()[0].handout, time())
    return head, b"".join(event.data for event in rest if isinstance(event, Data))


def certificate() -> x509.Certificate:
    return contexts()[1].certificate


# -- what is served ---------------------------------------------------------------------------------------------------


def test_each_form_is_the_certificate_of_the_ca_and_no_key():
    forms = {path: fetched(path)[1] for path in DOWNLOADS}
    profile = plistlib.loads(forms["/cert/mobileconfig"])
    found = [
        x509.load_pem_x509_certificate(forms["/cert/pem"]),
        x509.load_pem_x509_certificate(forms["/cert/android"]),
        x509.load_der_x509_certificate(forms["/cert/cer"]),
        x509.load_der_x509_certificate(profile["PayloadContent"][0]["PayloadContent"]),
    ]
    store = pkcs12.load_pkcs12(forms["/cert/p12"], None)
    found += [entry.certificate for entry in store.additional_certs]
    assert found == [certificate()] * 5
    assert store.key is None
    assert not any(b"PRIVATE KEY" in form for form in forms.values())


def test_a_profile_is_a_root_for_apple_and_replaces_itself():
    profiles = [plistlib.loads(fetched("/cert/mobileconfig")[1]) for _ in range(2)]
    (root,) = profiles[0]["PayloadContent"]
    assert (profiles[0]["PayloadType"], root["PayloadType"]) == ("Configuration", "com.apple.security.root")
    assert profiles[0]["PayloadUUID"] != root["PayloadUUID"]
    assert profiles[0] == profiles[1]


def test_the_name_of_androids_file_is_what_openssl_says():
    pem = certificate().public_bytes(Encoding.PEM)
    openssl = subprocess.run(
        ["openssl", "x509", "-noout", "-subject_hash_old", "-fingerprint", "-sha256"],
        input=pem,
        capture_output=True,
        check=True,
    )
    name, fingerprint = openssl.stdout.decode().split()[0], openssl.stdout.decode().strip().rpartition("=")[2]
    assert f'filename="{name}.0"' in dict(fetched("/cert/android")[0].fields)[b"Content-Disposition"].decode()
    assert fingerprint in fetched("/")[1].decode()


@pytest.mark.parametrize(
    ("path", "content_type", "name"),
    [
        ("/cert/pem", b"application/x-x509-ca-cert", b"mitmdump-ca-cert.pem"),
        ("/cert/cer", b"application/x-x509-ca-cert", b"mitmdump-ca-cert.cer"),
        ("/cert/p12", b"application/x-pkcs12", b"mitmdump-ca-cert.p12"),
        ("/cert/mobileconfig", b"application/x-apple-aspen-config", b"mitmdump.mobileconfig"),
        ("/cert/pem?again", b"application/x-x509-ca-cert", b"mitmdump-ca-cert.pem"),
    ],
)
def test_a_download_is_of_a_type_that_systems_install_and_has_a_name(path, content_type, name):
    fields = dict(fetched(path)[0].fields)
    assert fields[b"Content-Type"] == content_type
    assert fields[b"Content-Disposition"] == b'attachment; filename="%b"' % name


class Links(HTMLParser):
    """The tags and links of a page; strict about what is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags, self.links, self.open = set(), set(), []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.links |= {value for name, value in attrs if name in ("href", "src")}
        if tag not in ("meta", "li"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag != "li":
            assert self.open.pop() == tag


def test_the_page_is_plain_small_whole_and_links_to_all_forms():
    head, body = fetched("/")
    page = Links(body.decode())
    assert page.open == []
    assert page.links == set(DOWNLOADS)
    assert not page.tags & {"script", "img", "link", "iframe", "form"}
    assert b'name="viewport" content="width=device-width' in body
    assert len(body) < 20_000
    assert b"$sha256" not in body
    assert b"$PWD" in body
    assert dict(head.fields)[b"X-Content-Type-Options"] == b"nosniff"


@pytest.mark.parametrize("path", ["/nope", "/cert/", "/cert/key", "//", "*", "/../cert/pem"])
def test_there_are_no_other_pages_and_nothing_is_reflected(path):
    """H23"""
    assert fetched(path)[0].status == 404
    assert fetched("/<script>")[1] == fetched(path)[1]


@pytest.mark.parametrize("path", ["/", "/cert/pem", "/cert/mobileconfig", "/nope"])
def test_our_answers_pass_httplint(path):
    codec = Http1(Role.SERVER)
    codec.receive(b"GET / HTTP/1.1\r\nHost: mitm.it\r\n\r\n")
    head, data, _ = read(make_codec(Role.CLIENT), [write(codec, *answer(path, contexts()[0].handout, time()))])
    linter = HttpResponseLinter(start_time=time())
    linter.process_response_topline(head.version, b"%d" % head.status, head.reason)
    linter.process_headers(head.fields)
    linter.feed_content(data.data)
    linter.finish_content(True)
    bad = [note for note in linter.notes if note.level in (levels.BAD, levels.WARN)]
    assert [note.summary for note in bad if not type(note).__name__.startswith("STATUS_")] == []


# -- how one gets there -----------------------------------------------------------------------------------------------


async def pem(client) -> bytes:
    """The body of an answer, which has to be the certificate."""
    head = await client.reads_head()
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    expected = certificate().public_bytes(Encoding.PEM)
    assert await client.reads(len(expected)) == expected
    return head


@in_loop
async def test_through_the_proxy_it_answers_again_and_again_and_is_recorded():
    async with proxying() as proxy:
        client = await proxy.client()
        for host in (HOST, b"MITM.it.", b"mitm.it:8000"):
            await client.sends(ask(host, path=b"/cert/pem"))
            await pem(client)
            recorded = await proxy.flow()
            assert (recorded.error, recorded.flow.response.status_code) == ("", 200)
            assert recorded.flow.server_conn is None
            assert recorded.response_body == certificate().public_bytes(Encoding.PEM)


@in_loop
async def test_head_is_answered_without_a_body():
    async with proxying() as proxy:
        client = await proxy.client()
        await client.sends(ask(HOST, method=b"HEAD"))
        assert b"Content-Length: 6" in await client.reads_head()
        await client.sends(ask(HOST, path=b"/cert/pem", version=b"1.0"))
        await pem(client)
        await client.sees_end()
        for _ in range(2):
            await proxy.flow()


@in_loop
@pytest.mark.parametrize("sent", [ask(HOST, method=b"DELETE"), ask(HOST, b"Content-Length: 5")])
async def test_anything_but_get_and_head_without_a_body_is_refused(sent):
    async with proxying() as proxy:
        client = await proxy.client()
        await client.sends(sent)
        client.ends()
        status, _ = await answered_page(client)
        assert (status, (await proxy.flow()).error) == (
            501,
            "mitm.it is this proxy itself: there are pages to GET, nothing else",
        )


@in_loop
@pytest.mark.parametrize("tls", [True, False])
async def test_a_tunnel_to_it_ends_at_us_and_nobody_asks_the_network(tls, monkeypatch):
    async with proxying() as proxy:
        monkeypatch.setattr("mitmdump.proxy.upstreams.connect", None)
        client = await proxy.client()
        await client.sends(b"CONNECT mitm.it:443 HTTP/1.1\r\nHost: mitm.it:443\r\n\r\n")
        await client.receives(ESTABLISHED)
        if tls:
            await client.starts_tls(make_client(trusting(), sni="mitm.it", alpn=(b"http/1.1",)))
        await client.sends(request(HOST, path=b"/cert/pem"))
        await pem(client)
        scheme = "https" if tls else "http"
        assert (await proxy.flow()).flow.request.url == f"{scheme}://mitm.it/cert/pem"


@in_loop
@pytest.mark.parametrize("tls", [True, False])
async def test_in_transparent_mode_the_name_is_what_counts(tls):
    async with proxying() as proxy:
        server = await proxy.server()
        client = await proxy.client(going_to=(server.host, server.port))
        if tls:
            await client.starts_tls(make_client(trusting(), sni="mitm.it"))
        await client.sends(request(HOST, path=b"/cert/pem"))
        await pem(client)
        assert (await proxy.flow()).error == ""
        assert server.has_nobody_waiting()


@in_loop
@pytest.mark.parametrize("settings", [{"ignore_hosts": ("mitm",)}, {"allow_hosts": ("x",)}, {"tcp_hosts": ("mitm",)}])
async def test_it_answers_whatever_hosts_are_ignored(settings):
    async with proxying(**settings) as proxy:
        client = await proxy.client()
        await client.sends(b"CONNECT mitm.it:443 HTTP/1.1\r\nHost: mitm.it:443\r\n\r\n")
        await client.receives(ESTABLISHED)
        await client.starts_tls(make_client(trusting(), sni="mitm.it"))
        await client.sends(request(HOST, path=b"/cert/pem"))
        await pem(client)
        await proxy.flow()


@in_loop
async def test_without_onboarding_it_is_a_host_like_any_other():
    async with proxying(onboarding=False) as proxy:
        server = await proxy.server()
        client = await proxy.client(going_to=(server.host, server.port))
        await client.sends(request(HOST))
        peer = await server.accepts()
        await peer.receives(request(HOST))
        await peer.sends(OK)
        await client.receives(OK)
        await proxy.flow()
