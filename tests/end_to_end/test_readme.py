"""Every command of the README is run, section by section, by somebody who has that section's programs and a terminal.

Those of transparent mode, which change a machine's packet filter, are run in `test_transparent.py`.

The one that runs all tests is what CI does, see `test_docs.py`. What the reader of the README has otherwise: a server
in place of example.com, a free port in place of 8080, a home of their own, and a capture, out.flows.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from docutils.core import publish_doctree
from docutils.nodes import Node, document, literal_block, section
from support.program import PROGRAM, mitmdump
from support.servers import Nginx
from support.tools import accepts, free_port, run, tool, wait_until

TOP = Path(__file__).parents[2]


def sections() -> dict[str, list[str]]:
    """The blocks of shell commands below each title; "" is what comes before the first."""
    found: dict[str, list[str]] = {}
    for block in publish_doctree((TOP / "README.rst").read_text()).findall(literal_block):
        if "bash" in block["classes"]:
            found.setdefault(title_of(block), []).append(block.astext())
    return found


def title_of(node: Node) -> str:
    while not isinstance(node, section | document):
        node = node.parent
    return "" if isinstance(node, document) else node[0].astext()


SECTIONS = sections()


class Reader:
    """Somebody who types blocks of commands into terminals, all in one directory.

    A capture goes on, in a terminal of its own, while the other commands are such as talk to the proxy.
    """

    def __init__(self, directory: Path, nginx: Nginx, root_file: Path) -> None:
        self._directory = directory
        self._nginx = nginx
        self._port = free_port()
        self._capture: subprocess.Popen[bytes] | None = None
        home, programs = directory / "home", directory / ".venv" / "bin"
        home.mkdir()
        programs.mkdir(parents=True)
        (programs / "activate").touch()
        (programs / "mitmdump").write_text(
            f'#!/bin/sh\nexec {PROGRAM} -p {self._port} --upstream-ca {root_file} "$@"\n'
        )
        (programs / "mitmdump").chmod(0o755)
        self._environment = {**os.environ, "HOME": str(home), "PATH": f"{programs}:{os.environ['PATH']}"}

    def follow(self, block: str) -> str:
        """Do what a block says; returns what is shown on stdout, of all that does not go on."""
        commands = self._made_to_fit(block)
        talks = str(self._port) in commands and "mitmdump " not in commands
        if talks and not self._capture:
            self._start("mitmdump -w out.flows")
        if not talks:
            self.stop()
        *setting, last = commands.splitlines()
        if is_capture(last):
            self._start("\n".join([*setting, f"exec {last}"]))
            return ""
        done = subprocess.run(self._shell(commands), capture_output=True, text=True, timeout=60, **self._where)
        assert done.returncode == 0, f"{commands}\n{done.stderr}"
        return done.stdout

    def stop(self) -> None:
        """Send a request through a capture, if there is one, and then Control-C."""
        if not self._capture:
            return
        run("curl", "-sS", "-x", f"http://localhost:{self._port}", "-d", "sent", self._nginx.http + "/echo")
        self._capture.send_signal(signal.SIGINT)
        assert self._capture.wait(30) == 0
        self._capture = None

    def kill(self) -> None:
        """Leave nothing behind."""
        if self._capture:
            self._capture.kill()
            self._capture.wait()

    def _start(self, commands: str) -> None:
        self._capture = subprocess.Popen(self._shell(commands), stdout=subprocess.DEVNULL, **self._where)
        wait_until(lambda: accepts(self._port) or self._capture.poll() is not None, "the proxy listens")
        assert self._capture.poll() is None, commands

    def _made_to_fit(self, block: str) -> str:
        for what, ours in (
            ("https://example.com", self._nginx.https),
            ("http://example.com", self._nginx.http),
            ("example.com", "localhost"),
            ("localhost:8080", f"localhost:{self._port}"),
        ):
            block = block.replace(what, ours)
        return block

    def _shell(self, commands: str) -> list[str]:
        return [tool("bash"), "-euo", "pipefail", "-c", f"trap 'jobs -p | xargs -r kill' EXIT\n{commands}"]

    @property
    def _where(self) -> dict[str, object]:
        return {"cwd": self._directory, "env": self._environment}


def is_capture(command: str) -> bool:
    """Does this command go on until Control-C?"""
    return command.startswith("mitmdump") and not any(
        word in command for word in (" -nr", " -nC", " --explain-filter", " & ")
    )


@pytest.fixture
def reader(tmp_path: Path, nginx: Nginx, root_file: Path) -> Iterator[Reader]:
    nginx.put("index.html", b"<p>An example</p>\n")
    somebody = Reader(tmp_path, nginx, root_file)
    somebody.follow("mitmdump -w out.flows")
    yield somebody
    somebody.kill()


@pytest.mark.parametrize("title", [title for title in SECTIONS if title])
def test_the_commands_of_a_section_work(reader, title):
    for block in SECTIONS[title]:
        reader.follow(block)
    reader.stop()


def test_the_first_capture_shows_what_was_sent(reader):
    shown = [reader.follow(block) for block in SECTIONS["A first capture"]]

    assert "GET https://localhost:" in shown[-1]
    assert "User-Agent: curl/" in shown[-1]
    assert "<< 200 OK" in shown[-1]


def test_a_capture_of_one_host_has_what_was_sent_there(reader, tmp_path):
    reader.follow(SECTIONS["Recipes"][0])
    reader.stop()

    assert "POST http://localhost:" in mitmdump("-nr", tmp_path / "api.flows").stdout


def test_one_command_sets_everything_up_and_records(tmp_path, nginx):
    tree, port = tmp_path / "mitmdump", free_port()
    shutil.copytree(TOP, tree, ignore=shutil.ignore_patterns(".git", ".venv*", "build", "*.egg-info", ".*_cache"))
    command = SECTIONS[""][0].replace("bin/mitmdump", f"bin/mitmdump -p {port}")
    environment = {**os.environ, "HOME": str(tmp_path)}

    with subprocess.Popen(["bash", "-c", command], cwd=tree, env=environment, start_new_session=True) as shell:
        try:
            wait_until(lambda: accepts(port) or shell.poll() is not None, "the proxy listens", seconds=300)
            run("curl", "-sS", "-x", f"http://localhost:{port}", nginx.http + "/echo")
        finally:
            os.killpg(shell.pid, signal.SIGINT)

    assert shell.returncode == 0
    assert "/echo" in mitmdump("-nr", tree / "out.flows").stdout
    assert (tree / ".venv" / "share" / "man" / "man1" / "mitmdump.1").exists()
