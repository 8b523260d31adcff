"""The table of options is the command line: parser, help and settings are all made from it, and nothing is left out."""

import os
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from mitmdump import __version__, app
from mitmdump.cli import main
from mitmdump.options import OPTIONS, Option
from mitmdump.settings import Settings
from mitmdump.settings.texts import of_side

TABLE = [option for group in OPTIONS.values() for option in group]
FLAGS = [flag for option in TABLE for flag in option.flags.split(", ")]
# An argument of each kind, by its name in the help.
ARGUMENTS = {
    "0..4": "3",
    "COMMAND": "gzip",
    "DIR": "conf",
    "FILE": "some.file",
    "FILE FILTER": "some.file ~q",
    "FILTER": "~q",
    "FILE|DIR": "some.file",
    "HOST": "192.0.2.1",
    "KIND": "rsa",
    "MODE[@[HOST:]PORT]": "transparent@8081",
    "MODE": "new",
    "N": "17",
    "NAME[,NAME]...": "a,b",
    "N/s": "17/s",
    "PART[,PART]...": "path,body",
    "PARTS": "status,body",
    "PATH[,PATH]...": "$.a,$..b",
    "PORT": "8081",
    "PORT[,PORT]...": "8443",
    "REGEX": "a.test",
    "RULES": "header:x-key,json:$.password",
    "SIZE": "17k",
    "TIME": "17ms",
    "TIME|N|SIZE": "17s",
    "URL": "https://b.test:8443",
    "WHAT": "pass",
    "WHAT[,WHAT]...": "header:date,json:$.id",
    "WHEN": "never",
    "WHICH": "cycle",
    "[PATTERN=]FILE": "*.a.test=some.file",
    "[SIDE=]LIST": "server=AES128-SHA256",
    "[SIDE=]VERSION": "client=1.1",
    "fast|original|SPEEDx": "2x",
    "kill|forward|STATUS": "404",
    "none|original|TIME|SPEEDx": "2x",
}


def by_flag(flag: str) -> Option:
    return next(option for option in TABLE if flag in option.flags.split(", "))


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch) -> list[Settings]:
    """What would have been run."""
    runs: list[Settings] = []
    monkeypatch.setattr(app, "run", lambda settings: runs.append(settings) or 0)
    return runs


@pytest.mark.parametrize("flag", [flag for flag in FLAGS if by_flag(flag).field])
def test_an_option_sets_its_field_and_no_other(flag, settings):
    option = by_flag(flag)

    main([flag, *ARGUMENTS[option.metavar].split()] if option.metavar else [flag])

    names = {field.name for field in fields(Settings)}
    assert {name for name in names if getattr(settings[0], name) != getattr(Settings(), name)} == {option.field}


def test_every_setting_has_an_option():
    assert {field.name for field in fields(Settings)} == {option.field for option in TABLE if option.field} | {"filter"}


def test_no_flag_means_two_things():
    assert len(FLAGS) == len(set(FLAGS))


@pytest.mark.parametrize("option", TABLE, ids=lambda option: option.flags)
def test_the_help_shows_every_option(option, capfd):
    assert main(["--help"]) == 0

    shown = capfd.readouterr().out
    assert f"\n  {option.flags} {option.metavar}".rstrip() in shown
    assert option.help.split()[0] in shown.partition(option.flags)[2]


def test_the_help_states_the_defaults(capfd):
    main(["--help"])

    words = " ".join(capfd.readouterr().out.split())
    assert "0 picks a free one. Default: 8080." in words
    assert "The largest message head. Default: 64k." in words
    assert "Default: 20s." in words


def test_an_option_may_be_repeated_if_its_help_says_so(settings):
    for option in TABLE:
        assert option.multiple == ("May be repeated" in option.help), option.flags

    main(["-r", "a", "--read", "b"])

    assert settings[0].read == ("a", "b")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["-p", "70000"], "--listen-port: '70000' is no port: give a number from 0 to 65535 (0 picks a free one)"),
        (["-p", "http"], "--listen-port: 'http' is no port: give a number from 0 to 65535 (0 picks a free one)"),
        (["-m", "socks"], "--mode: 'socks' is no mode: it is one of regular, transparent"),
        (
            ["-m", "regular@::1:80"],
            "--mode: '::1:80' is no host and port: an IPv6 address stands in brackets, as in [::1]:8080",
        ),
        (
            ["-T", "-m", "regular"],
            "two modes cannot listen on one port: give each its own, as in --mode transparent@8081",
        ),
        (["--mark", "0"], "--mark: '0' is no mark: give a number from 1 to 4294967295, or 0x1 to 0xffffffff"),
        (
            ["--rules-ports", "80,0"],
            "--rules-ports: '80,0' are no ports: give up to 15 numbers from 1 to 65535, with commas between them",
        ),
        (
            ["--print-rules", "nft", "-p", "0"],
            "--print-rules: rules need a port to redirect to, so choose one with -p",
        ),
        (["--tls-min", "server=1.4"], "--tls-min: '1.4' is none of 1.0, 1.1, 1.2, 1.3"),
        (["--tls-max", "proxy=1.2"], "--tls-max: 'proxy=1.2' is none of 1.0, 1.1, 1.2, 1.3"),
        (["--ciphers", ""], "--ciphers: '' is no value"),
        (["--certs", "a.test="], "--certs: '' is no name of a file"),
        (["--flow-detail", "5"], "--flow-detail: '5' is none of 0, 1, 2, 3, 4"),
        (["--color", "red"], "--color: 'red' is none of auto, always, never"),
        (["--max-connections", "0"], "--max-connections: '0' is no number from 1 up"),
        (
            ["--max-header-size", "big"],
            "--max-header-size: 'big' is no size: give a number of bytes, or one with k, M or G, such as 64k",
        ),
        (
            ["--timeout-idle", "-1s"],
            "--timeout-idle: '-1s' is no duration: give a number with ms, s, m or h, such as 500ms or 2m",
        ),
        (["-r"], "Option '-r' requires an argument. See mitmdump --help."),
        (["--quiet=1"], "Option '--quiet' does not take a value. See mitmdump --help."),
    ],
)
def test_a_bad_value_is_refused_in_one_line(arguments, complaint, settings, capfd):
    assert main(arguments) == 2

    assert capfd.readouterr() == ("", f"mitmdump: {complaint}\n")
    assert not settings


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], ["tcp dport { 80, 443 } redirect to :8080", f"meta skuid {os.geteuid()} return"]),
        (["-T", "-p", "9000"], ["redirect to :9000"]),
        (["-m", "regular", "-m", "transparent@9001", "--mark", "0x17"], ["redirect to :9001", "meta mark 23 return"]),
        (["--rules-ports", "8443,25"], ["tcp dport { 8443, 25 }"]),
    ],
)
def test_rules_are_printed_for_the_port_and_the_mark_of_the_other_options(arguments, words, settings, capfd):
    assert main(["--print-rules", "nft", *arguments]) == 0

    out = capfd.readouterr().out
    assert [word for word in words if word not in out] == []
    assert not settings


def test_an_unknown_option_is_refused_with_what_may_have_been_meant(settings, capfd):
    assert main(["--flow-details", "2"]) == 2

    assert "--flow-detail" in capfd.readouterr().err.replace("--flow-details", "")
    assert not settings


def test_a_bad_filter_is_refused_with_a_mark_under_the_place(capfd):
    assert main(["-n", "-r", "x", "~d example.com", "& ~c 99"]) == 2

    first, expression, caret = capfd.readouterr().err.splitlines()
    assert first.startswith("mitmdump: bad filter: ~c needs a status (404), a class (4xx)")
    assert expression == "    ~d example.com & ~c 99"
    assert caret.index("^") == expression.index("99")


def test_words_of_a_filter_are_joined(settings):
    assert main(["-q", "~d", "example.com", "--fsync", "~m", "GET"]) == 0

    assert settings == [Settings(filter="~d example.com ~m GET", quiet=True, fsync=True)]


def test_a_filter_may_follow_two_hyphens(settings):
    main(["--", "-login-"])

    assert settings == [Settings(filter="-login-")]


def test_a_filter_is_explained_on_request(settings, capfd):
    assert main(["--explain-filter", "!~c", "404"]) == 0

    assert capfd.readouterr().out.startswith("!~c 404\n")
    assert not settings


def test_there_must_be_a_filter_to_explain(settings, capfd):
    assert main(["--explain-filter"]) == 2

    assert "there is nothing in this expression" in capfd.readouterr().err
    assert not settings


def test_version_help_and_mistakes_load_nothing_heavy():
    heavy = {"asyncio", "OpenSSL", "cryptography", "h2", "msgpack", "mitmdump.app"}
    script = (
        "import sys; from mitmdump.cli import main; main(['--version']); main(['--help']); main(['--nonsense']);"
        f"print(sorted({heavy} & sys.modules.keys()))"
    )

    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert done.stdout.startswith(f"mitmdump {__version__}\n")
    assert done.stdout.endswith("\n[]\n")


def test_reading_back_loads_nothing_of_the_network():
    network = {"asyncio", "OpenSSL", "cryptography", "mitmdump.net", "mitmdump.proxy", "mitmdump.live"}
    script = (
        "import sys; from mitmdump.cli import main; main(['-n', '-r', '/dev/null']);"
        f"print(sorted({network} & sys.modules.keys()))"
    )

    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert done.stdout == "[]\n"


@pytest.mark.parametrize("question", ["--help", "--version"])
def test_an_answer_that_nobody_reads_ends_quietly(question):
    reading, writing = os.pipe()
    os.close(reading)

    done = subprocess.run([sys.executable, "-m", "mitmdump", question], stdout=writing, stderr=subprocess.PIPE)

    os.close(writing)
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_file_where_the_filter_stands_is_refused_when_reading(settings, capfd, tmp_path, monkeypatch):
    """What a shell makes of `-r *.flows`."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "b.flows").touch()

    assert main(["-n", "-r", "a.flows", "b.flows"]) == 2
    assert "'b.flows' is a file, but stands where the filter is. Give each file an -r" in capfd.readouterr().err
    assert main(["-n", "-r", "a.flows", "~u b.flows"]) == 0


def test_a_file_has_a_name(settings, capfd):
    assert main(["-w", ""]) == 2

    assert capfd.readouterr().err == "mitmdump: --write: '' is no name of a file\n"


@pytest.mark.parametrize(
    ("text", "certificate"),
    [
        ("own.pem", ("", "own.pem")),
        ("a.test=own.pem", ("a.test", "own.pem")),
        ("*.a.test=certs/own=1.pem", ("*.a.test", "certs/own=1.pem")),
        ("./own=1.pem", ("", "own=1.pem")),
    ],
)
def test_a_certificate_is_for_a_pattern_or_for_all(text, certificate, settings):
    main(["--certs", text])

    assert settings[0].certs == ((certificate[0], Path(certificate[1])),)


def test_what_is_said_of_one_side_counts_for_that_one_only(settings):
    main(["--tls-min", "1.3", "--tls-min", "client=1.1", "--ciphers", "server=AES128-SHA256:@SECLEVEL=0"])

    chosen = settings[0]
    assert [of_side(chosen.tls_min, side) for side in ("client", "server")] == ["1.1", "1.3"]
    assert [of_side(chosen.ciphers, side) for side in ("client", "server")] == [None, "AES128-SHA256:@SECLEVEL=0"]
