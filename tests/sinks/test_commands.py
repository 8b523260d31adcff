from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from mitmdump.errors import SettingsError
from mitmdump.sinks.commands import AT_ONCE, Commands


def run(command: str, *names: str) -> tuple[list[str], list[str]]:
    """What was warned of, and whose command had ended, in order."""
    warnings: list[str] = []
    over: list[str] = []
    commands = Commands(command, warnings.append)
    for name in names:
        commands.run(name, lambda name=name: over.append(name))  # type: ignore[misc]
    commands.wait()
    return warnings, over


def script(path: Path, text: str) -> str:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o700)
    return str(path)


def test_the_name_is_the_last_word_and_no_shell_sees_it(tmp_path: Path) -> None:
    words = tmp_path / "words"
    program = script(tmp_path / "a program", f'printf "%s\\n" "$@" > {words}')
    assert run(f"'{program}' -x 'a b'", "$(name) *.flows") == ([], ["$(name) *.flows"])
    assert words.read_text() == "-x\na b\n$(name) *.flows\n"


def test_what_it_says_goes_to_stderr_and_there_is_nothing_to_read(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run(script(tmp_path / "program", "cat; echo said"), "a")
    assert capfd.readouterr() == ("", "said\n")


def test_a_failure_is_said_with_the_name(tmp_path: Path) -> None:
    program = script(tmp_path / "program", 'case "$1" in a) exit 3;; b) kill -9 $$;; esac')
    warnings, over = run(program, "a", "b", "c")
    assert sorted(warnings) == [f"{program} failed with status 3 on a", f"{program} was ended by SIGKILL on b"]
    assert sorted(over) == ["a", "b", "c"]


def test_a_program_that_is_gone_by_then_is_a_failure_too(tmp_path: Path) -> None:
    warnings: list[str] = []
    over: list[int] = []
    program = script(tmp_path / "program", "")
    commands = Commands(program, warnings.append)
    (tmp_path / "program").unlink()
    commands.run("a", lambda: over.append(1))
    assert (warnings, over) == ([f"cannot run {program} on a: no such file or directory"], [1])


def test_few_run_at_a_time_and_the_rest_in_order(tmp_path: Path) -> None:
    gate, log = tmp_path / "gate", tmp_path / "log"
    program = script(tmp_path / "program", f'echo "$1" >> {log}; read line < {gate}')
    os.mkfifo(gate)
    commands = Commands(program, print)
    names = [str(number) for number in range(AT_ONCE + 2)]
    for name in names:
        commands.run(name, lambda: None)
    assert [task.name for task, _ in commands._running] == names[:AT_ONCE]
    assert all(commands.busy(name) for name in names)
    holder = os.open(gate, os.O_RDWR)  # lets everybody through
    os.write(holder, b"\n" * len(names))
    commands.wait()
    os.close(holder)
    assert sorted(log.read_text().split()) == names
    assert not any(commands.busy(name) for name in names)


def test_control_c_does_not_reach_it(tmp_path: Path) -> None:
    program = script(tmp_path / "program", f"ps -o pgid= -p $$ > {tmp_path / 'group'}")
    run(program, "a")
    assert int((tmp_path / "group").read_text()) != os.getpgrp()


@pytest.mark.parametrize(
    ("command", "words"),
    [("", "no such program"), ("'a", "no closing quotation"), ("absent-program -x", "no such program to run")],
)
def test_what_is_no_command_is_refused(command: str, words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        Commands(command, print)


def test_a_command_that_was_ended_by_a_signal_without_a_name_is_said_all_the_same(tmp_path: Path) -> None:
    number = signal.SIGRTMIN + 3
    program = script(tmp_path / "program", f"kill -{int(number)} $$")
    assert run(program, "a")[0] == [f"{program} was ended by signal {int(number)} on a"]
