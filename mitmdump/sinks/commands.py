"""A command that is run with the name of each file that is finished, in the background, a few at a time.

No shell comes between: the words of the command are split as a shell would, and the name is one word more. What the
command says goes to our stderr, since our stdout carries flows. It is in a process group of its own, so that Control-C
ends the capture and not the compressing of what was captured before.
"""

from __future__ import annotations

import shlex
import shutil
import signal
import subprocess
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from ..errors import SettingsError

# Most such commands compress or upload: more of them at a time would not be done sooner, and slow down the capture.
AT_ONCE = 4


class _Task(NamedTuple):
    """One file to be worked on, and who wants to know when that is over."""

    name: str
    done: Callable[[], object]


class Commands:
    """Runs `command` for one file after the other; what goes wrong with it is told to `warn`.

    Raises SettingsError where there is no such command.
    """

    def __init__(self, command: str, warn: Callable[[str], object]) -> None:
        try:
            self._words = shlex.split(command)
        except ValueError as error:
            raise SettingsError(f"{command!r} is no command: {str(error).lower()}") from None
        if not self._words or not shutil.which(self._words[0]):
            raise SettingsError(f"{command!r} is no command: there is no such program to run")
        self._warn = warn
        self._waiting: deque[_Task] = deque()
        self._running: list[tuple[_Task, subprocess.Popen[bytes]]] = []

    def run(self, name: str, done: Callable[[], object]) -> None:
        """A file is finished: its turn comes as soon as few enough commands run. `done` is told when it is over."""
        self._waiting.append(_Task(name, done))
        self.poll()

    def busy(self, name: str) -> bool:
        """Is a command at work with this file, or will it be?"""
        return any(task.name == name for task in (*self._waiting, *(task for task, _ in self._running)))

    def poll(self) -> None:
        """Look which commands have ended, and start what waits."""
        ended = [each for each in self._running if each[1].poll() is not None]
        self._running = [each for each in self._running if each not in ended]
        for task, process in ended:
            self._report(task.name, process.returncode)
            task.done()
        while self._waiting and len(self._running) < AT_ONCE:
            self._start(self._waiting.popleft())

    def wait(self) -> None:
        """Wait until all have ended."""
        self.poll()
        while self._running:
            self._running[0][1].wait()
            self.poll()

    def _start(self, task: _Task) -> None:
        command = [*self._words, task.name]
        try:  # the user's own command, without a shell
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=2, process_group=0)  # noqa: S603
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            self._warn(f"cannot run {self._words[0]} on {task.name}: {reason}")
            task.done()
        else:
            self._running.append((task, process))

    def _report(self, name: str, status: int) -> None:
        if status:
            how = f"failed with status {status}" if status > 0 else f"was ended by {_signal_name(-status)}"
            self._warn(f"{self._words[0]} {how} on {name}")


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal
        return f"signal {number}"
