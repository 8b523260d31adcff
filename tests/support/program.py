"""The installed program, run as a user runs it: started, asked to stop, its output and its capture read back."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sysconfig
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from mitmdump.files import Flows, open_flows
from mitmdump.model.flow import Flow

from .tools import wait_until

PROGRAM = Path(sysconfig.get_path("scripts")) / "mitmdump"
SUMMARY = re.compile(r"(\d+) flows seen, (\d+) matched, (\d+) written, (\d+) failed, (\d+) dropped")


def mitmdump(*arguments: str | Path, seconds: float = 60, stdin: bytes = b"") -> subprocess.CompletedProcess[str]:
    """Run the program to its end."""
    assert PROGRAM.exists(), f"{PROGRAM} is missing: install the package first (pip install -e .)"
    command = [str(PROGRAM), *map(str, arguments)]
    done = subprocess.run(command, input=stdin, capture_output=True, timeout=seconds)
    return subprocess.CompletedProcess(command, done.returncode, done.stdout.decode(), done.stderr.decode())


class Proxy:
    """A running mitmdump that records to `capture`; as a context manager it is stopped, and its end is checked.

    Everything that it says on stderr, besides where it listens and its closing line, has to be foreseen in
    `expected` (regular expressions).
    """

    def __init__(
        self, directory: Path, *options: str | Path, limits: str = "", within: Callable[..., list[str]] | None = None
    ) -> None:
        """`limits`: shell commands that come first, such as "ulimit -n 64". `within`: makes another command of a
        command, which runs it elsewhere (`network.Host.command`).
        """
        self.capture = directory / "capture.flows"
        self.expected: list[str] = []
        self._ready = directory / "ready.json"
        self._stdout, self._stderr = directory / "stdout", directory / "stderr"
        self._reader: Flows | None = None
        ours = ["-p", "0", "--ready-file", self._ready, "-w", self.capture]
        command = [str(PROGRAM), *map(str, ours), *map(str, options)]
        if limits:
            command = ["/bin/sh", "-c", f'{limits}; exec "$@"', "sh", *command]
        if within:
            command = within(*command)
        assert PROGRAM.exists(), f"{PROGRAM} is missing: install the package first (pip install -e .)"
        with self._stdout.open("wb") as stdout, self._stderr.open("wb") as stderr:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr)
        try:
            wait_until(lambda: self._ready.exists() or self.process.poll() is not None, "the proxy listens")
            assert self.process.poll() is None, f"the proxy did not start: {self.stderr}"
        except BaseException:
            self.process.kill()
            self.process.wait()
            raise
        ready = json.loads(self._ready.read_text())
        self.addresses: list[tuple[str, int]] = [(host, port) for host, port in ready["addresses"]]
        self.modes: list[str] = ready["modes"]
        self.port = self.addresses[0][1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.ca = Path(ready["ca"])

    def __enter__(self) -> Proxy:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        try:
            if kind is None:
                self.stop()
            else:
                print(f"stderr of the proxy:\n{self.stderr}")
        finally:
            self.kill()

    def close(self) -> None:
        """Let go of everything; bodies of flows that were read back cannot be read any more."""
        self.kill()
        if self._reader:
            self._reader.close()

    @property
    def stdout(self) -> str:
        return self._stdout.read_text()

    @property
    def stderr(self) -> str:
        return self._stderr.read_text(errors="surrogateescape")

    @property
    def running(self) -> bool:
        return self.process.poll() is None

    @property
    def remarks(self) -> list[str]:
        """What it said besides the first and the last line that every run has."""
        lines = self.stderr.splitlines()
        return [line for line in lines if not SUMMARY.search(line) and ": listening on " not in line]

    @property
    def counts(self) -> tuple[int, ...]:
        """Flows seen, matched, written, failed, dropped; as the closing line says."""
        match = SUMMARY.search(self.stderr)
        assert match, f"no closing line: {self.stderr}"
        return tuple(map(int, match.groups()))

    def stop(self, number: signal.Signals = signal.SIGINT, *, seconds: float = 30) -> None:
        """Have it end, and look at how it did; nothing happens if it has."""
        if not self.running:
            return
        self.process.send_signal(number)
        assert self.process.wait(seconds) == 0, self.stderr
        assert "Traceback" not in self.stderr
        for remark in self.remarks:
            assert remark.startswith("mitmdump: ")
            assert any(re.search(pattern, remark) for pattern in self.expected), f"not foreseen: {remark}"

    def kill(self) -> None:
        """End it with SIGKILL, in whatever it does; nothing happens if it has ended."""
        self.process.kill()
        self.process.wait()

    def flows(self, *, complete: bool = True) -> list[Flow]:
        """Stop it, and read the capture back: by the program, then as Python; both must agree.

        `complete`: the counts at exit, too, must agree (R8).
        """
        self.stop()
        shown = mitmdump("-n", "-r", self.capture, "--flow-detail", "1")
        assert shown.returncode == 0, shown.stderr
        assert "Traceback" not in shown.stderr
        self._reader = open_flows(self.capture)
        flows = list(self._reader)
        assert not self._reader.damage
        starts = [line for line in shown.stdout.splitlines() if not line.startswith(" ")]
        assert len(starts) == len(flows)
        if complete:
            assert self.counts[2] == len(flows)
            assert self.counts[3] == sum(1 for flow in flows if flow.error)
            assert len({flow.id for flow in flows}) == len(flows)
        return flows

    def flow(self) -> Flow:
        """The only flow of the capture."""
        (flow,) = self.flows()
        return flow

    def memory(self, name: str) -> int:
        """VmRSS (now) or VmHWM (at its peak), in bytes."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        match = re.search(rf"^{name}:\s+(\d+) kB", status, re.MULTILINE)
        assert match
        return int(match[1]) * 1024

    def descriptors(self) -> int:
        """How many files it has open."""
        return len(list(Path(f"/proc/{self.process.pid}/fd").iterdir()))


# Starts the program with options, see `Proxy`; what the fixture of that name is.
Start = Callable[..., Proxy]


def statuses(flows: list[Flow]) -> list[int | None]:
    """The status codes of the flows, None where there is no response."""
    return [flow.response and flow.response.status_code for flow in flows]
