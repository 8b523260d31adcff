"""Programs that people use, through the installed proxy, to nginx: each verifies the chain that it is shown."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from ssl import SSLContext
from threading import Thread

import pytest
import requests
from support.clients import curl
from support.program import Proxy, Start
from support.servers import Nginx
from support.tools import run, tool

from mitmdump.model.flow import Flow


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_curl_gets_a_page_and_it_is_recorded_as_it_was(start: Start, nginx: Nginx, scheme: str) -> None:
    url = getattr(nginx, scheme) + "/echo?a=1"
    with start() as proxy:
        done = curl(proxy, url, "-H", "X-Test: hello", "-i")
    assert done.stdout.endswith(b"GET /echo?a=1 hello\n")
    flow = proxy.flow()
    assert flow.request and flow.response
    assert (flow.request.method, flow.request.url, flow.request.http_version) == ("GET", url, "HTTP/1.1")
    assert flow.request.headers["x-test"] == "hello"
    assert flow.response.status_code == 200
    assert flow.response.headers["server"].startswith("nginx")
    assert flow.response.content == b"GET /echo?a=1 hello\n"
    _check_times(flow)


def _check_times(flow: Flow) -> None:
    assert flow.request and flow.response and flow.server_conn
    times = [
        flow.client_conn.timestamp_start,
        flow.timestamp_start,
        flow.request.timestamp_end,
        flow.response.timestamp_start,
        flow.response.timestamp_end,
        flow.timestamp_end,
    ]
    assert None not in times
    assert times == sorted(times, key=float)
    setup = (flow.server_conn.timestamp_start, flow.server_conn.timestamp_tcp_setup)
    assert None not in setup
    assert setup[0] <= setup[1]


def test_curl_does_not_accept_the_proxy_without_its_ca(start: Start, nginx: Nginx, root_file: Path) -> None:
    with start() as proxy:
        proxy.expected.append("no TLS with .*: the client does not trust our certificate: alert unknown ca")
        curl(proxy, nginx.https + "/echo", "--cacert", root_file, status=60)
    flow = proxy.flow()
    assert flow.kind == "tcp"
    assert flow.error and "the client does not trust our certificate" in flow.error.msg


def test_a_session_of_requests_posts_json_follows_a_redirect_and_reads_gzip(start: Start, nginx: Nginx) -> None:
    styles = b"p { margin: 0 }\n" * 1000
    path = nginx.put("styles.css", styles)
    with start() as proxy, requests.Session() as session:
        session.proxies, session.verify, session.trust_env = {"all": proxy.url}, str(proxy.ca), False
        posted = session.post(nginx.https + "/echo", json={"a": [1, 2]}, headers={"X-Test": "posted"}, timeout=20)
        followed = session.get(nginx.https + "/redirect", timeout=20)
        read = session.get(nginx.https + path, timeout=20)
    assert posted.text == "POST /echo posted\n"
    assert [answer.status_code for answer in (*followed.history, followed)] == [302, 200]
    assert read.content == styles
    flows = proxy.flows()
    assert [flow.request.method for flow in flows if flow.request] == ["POST", "GET", "GET", "GET"]
    assert flows[0].request and json.loads(flows[0].request.content or b"") == {"a": [1, 2]}
    assert len({flow.client_conn.id for flow in flows[1:]}) == 1
    styled = flows[3].response
    assert styled and styled.headers["content-encoding"] == "gzip"
    assert styled.content == styles
    assert len(styled.raw_content or b"") < 1000


def test_a_file_goes_to_nginx_and_comes_back_whole_in_ranges_and_by_condition(start: Start, nginx: Nginx) -> None:
    content = os.urandom(3_000_000)
    with start() as proxy, requests.Session() as session:
        session.proxies, session.verify, session.trust_env = {"all": proxy.url}, str(proxy.ca), False
        url = nginx.https + "/upload/random.bin"
        assert session.put(url, data=content, timeout=20).status_code == 201
        whole = session.get(url, timeout=20)
        part = session.get(url, headers={"Range": "bytes=100-199"}, timeout=20)
        known = session.get(url, headers={"If-None-Match": whole.headers["etag"]}, timeout=20)
    assert (whole.content, part.content, known.status_code) == (content, content[100:200], 304)
    put, got, ranged, conditional = proxy.flows()
    digest = hashlib.sha256(content).digest()
    assert put.request and put.request.raw_content == content
    assert put.request.body.sha256 == digest
    assert got.response and got.response.raw_content == content
    assert got.response.body.sha256 == digest
    assert ranged.response and ranged.response.raw_content == content[100:200]
    assert conditional.response and conditional.response.body.length == 0


def test_an_upload_of_unknown_length_is_chunked_and_arrives_whole(start: Start, nginx: Nginx) -> None:
    pieces = [bytes([number]) * 10_000 for number in range(100)]
    with start() as proxy:
        url = nginx.http + "/upload/chunked.bin"
        proxies = {"all": proxy.url}
        answer = requests.put(url, data=iter(pieces), proxies=proxies, timeout=20)
    assert answer.status_code == 201
    assert (nginx.root / "upload/chunked.bin").read_bytes() == b"".join(pieces)
    flow = proxy.flow()
    assert flow.request and flow.request.headers["transfer-encoding"] == "chunked"
    assert flow.request.raw_content == b"".join(pieces)


# git


def _git(directory: Path, *arguments: str | Path) -> str:
    identity = {"GIT_AUTHOR_NAME": "A", "GIT_AUTHOR_EMAIL": "a@a.test", "GIT_TERMINAL_PROMPT": "0"}
    committer = {"GIT_COMMITTER_NAME": "A", "GIT_COMMITTER_EMAIL": "a@a.test"}
    return run("git", *arguments, cwd=directory, **identity, **committer).stdout.decode()


def _make_repository(directory: Path) -> Path:
    """A bare repository with two commits, as a server has it."""
    work, bare = directory / "work", directory / "project.git"
    work.mkdir(parents=True)
    _git(work, "init", "-q", "-b", "main")
    for number in range(2):
        (work / "file").write_bytes(os.urandom(200_000))
        _git(work, "add", "file")
        _git(work, "commit", "-q", "-m", f"commit {number}")
    _git(directory, "clone", "-q", "--bare", work, bare)
    _git(bare, "update-server-info")
    _git(bare, "config", "http.receivepack", "true")
    return bare


def _through(proxy: Proxy) -> list[str]:
    return ["-c", f"http.proxy={proxy.url}", "-c", f"http.sslCAInfo={proxy.ca}"]


def test_git_clones_a_repository_that_nginx_serves_as_files(start: Start, nginx: Nginx, tmp_path: Path) -> None:
    bare = _make_repository(nginx.root / "dumb")
    with start() as proxy:
        _git(tmp_path, *_through(proxy), "clone", "-q", nginx.https + "/dumb/project.git", "clone")
    assert _git(tmp_path / "clone", "rev-parse", "HEAD") == _git(bare, "rev-parse", "main")
    flows = proxy.flows()
    assert any(flow.request and flow.request.path.endswith("/info/refs?service=git-upload-pack") for flow in flows)
    assert not [flow for flow in flows if flow.error]


class _GitServer(BaseHTTPRequestHandler):
    """git-http-backend behind HTTP, as CGI (RFC 3875)."""

    protocol_version = "HTTP/1.1"
    repositories: Path

    def do_GET(self) -> None:
        path, _, query = self.path.partition("?")
        environment = {
            "GIT_PROJECT_ROOT": str(self.repositories),
            "GIT_HTTP_EXPORT_ALL": "1",
            "REQUEST_METHOD": self.command,
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "CONTENT_TYPE": self.headers.get("content-type", ""),
            "HTTP_CONTENT_ENCODING": self.headers.get("content-encoding", ""),
            "GIT_PROTOCOL": self.headers.get("git-protocol", ""),
            "REMOTE_USER": "tester",
        }
        command = [tool("git"), "http-backend"]
        done = subprocess.run(
            command, input=self._body(), stdout=subprocess.PIPE, env={**os.environ, **environment}, timeout=20
        )
        head, _, body = done.stdout.partition(b"\r\n\r\n")
        fields = dict(line.split(": ", 1) for line in head.decode().split("\r\n"))
        self.send_response(int(fields.pop("Status", "200").split()[0]))
        for name, value in fields.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET

    def _body(self) -> bytes:
        if self.headers.get("transfer-encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("content-length", "0")))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def log_message(self, *_: object) -> None:
        pass


def test_git_clones_and_pushes_through_its_own_protocol(start: Start, tls: SSLContext, tmp_path: Path) -> None:
    bare = _make_repository(tmp_path / "server")
    handler = type("Handler", (_GitServer,), {"repositories": bare.parent})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
        Thread(target=server.serve_forever, daemon=True).start()
        with start() as proxy:
            url = f"https://localhost:{server.server_port}/project.git"
            _git(tmp_path, *_through(proxy), "clone", "-q", url, "clone")
            clone = tmp_path / "clone"
            (clone / "new").write_bytes(os.urandom(2_000_000))
            _git(clone, "add", "new")
            _git(clone, "commit", "-q", "-m", "new")
            _git(clone, *_through(proxy), "push", "-q", "origin", "main")
        server.shutdown()
    assert _git(clone, "rev-parse", "HEAD") == _git(bare, "rev-parse", "main")
    posts = [flow.request for flow in proxy.flows() if flow.request and flow.request.method == "POST"]
    assert any(request.path.endswith("/git-receive-pack") and request.body.length > 2_000_000 for request in posts)
