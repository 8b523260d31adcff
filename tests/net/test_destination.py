"""Where a redirected connection was going, as each packet filter says it.

The structures are as C compilers lay them out from the definitions in linux/in.h, linux/in6.h, and net/pfvar.h of xnu,
FreeBSD and OpenBSD.
"""

import errno
import socket
import struct
from pathlib import Path

import pytest
from support.peers import connected

from mitmdump.errors import SettingsError
from mitmdump.net.destination import linux, open_lookup, pf
from mitmdump.net.destination.linux import Netfilter
from mitmdump.net.destination.pf import LAYOUTS, PacketFilter


class Sock:
    """A socket with its addresses; `option` is what getsockopt gives or raises."""

    def __init__(self, peer, here, option=b""):
        self.family = socket.AF_INET6 if ":" in here[0] else socket.AF_INET
        self._peer, self._here, self._option = peer, here, option
        self.asked: list[tuple] = []

    def getpeername(self):
        return self._peer

    def getsockname(self):
        return self._here

    def getsockopt(self, *question):
        self.asked.append(question)
        if isinstance(self._option, OSError):
            raise self._option
        return self._option


CLIENT, HERE = ("10.0.1.2", 50000), ("10.0.1.1", 8080)
CLIENT6, HERE6 = ("fd00:1::2", 50000, 0, 0), ("fd00:1::1", 8080, 0, 0)

# -- Linux ----------------------------------------------------------------------------------------------------------

_FAMILY = struct.pack("=H", socket.AF_INET).hex()
_FAMILY6 = struct.pack("=H", socket.AF_INET6).hex()
SOCKADDR_IN = bytes.fromhex(_FAMILY + "01bbc0000207" + "00" * 8)
SOCKADDR_IN6 = bytes.fromhex(_FAMILY6 + "01bb0000000020010db800000000000000000000000700000000")


def test_linux_is_asked_for_the_destination_before_it_was_translated():
    """T15"""
    four, six = Sock(CLIENT, HERE, SOCKADDR_IN), Sock(CLIENT6, HERE6, SOCKADDR_IN6)

    assert Netfilter().find(four) == ("192.0.2.7", 443)
    assert Netfilter().find(six) == ("2001:db8::7", 443)
    assert (four.asked, six.asked) == ([(0, 80, 16)], [(41, 80, 28)])  # SOL_IP, SO_ORIGINAL_DST; SOL_IPV6, IP6T_...


@pytest.mark.parametrize("code", [errno.ENOENT, errno.ENOPROTOOPT])
def test_a_connection_that_is_not_translated_was_going_where_its_socket_is(code):
    """T15"""
    assert Netfilter().find(Sock(CLIENT, ("192.0.2.7", 443), OSError(code, "x"))) == ("192.0.2.7", 443)
    assert Netfilter().find(Sock(CLIENT6, ("2001:db8::7", 443, 0, 0), OSError(code, "x"))) == ("2001:db8::7", 443)


def test_any_other_refusal_is_an_error():
    with pytest.raises(PermissionError):
        Netfilter().find(Sock(CLIENT, HERE, OSError(errno.EPERM, "x")))


@pytest.mark.parametrize(("family", "option"), [(socket.AF_INET, (0, 19, 1)), (socket.AF_INET6, (41, 75, 1))])
@pytest.mark.parametrize("allowed", [True, False])
def test_a_listening_socket_is_made_transparent_where_that_is_allowed(family, option, allowed):
    class Listening:
        def __init__(self):
            self.family = family

        def setsockopt(self, *given):
            assert given == option
            if not allowed:
                raise PermissionError(errno.EPERM, "Operation not permitted")

    assert linux.Netfilter().prepare(Listening()) is allowed


# -- pf -------------------------------------------------------------------------------------------------------------

REQUESTS = {"darwin": 0xC0544417, "freebsd": 0xC04C4417, "openbsd": 0xC0504417}
NO_ADDRESS = "00" * 16
FOUR = ("0a000102" + "00" * 12, "0a000101" + "00" * 12)
SIX = ("fd000001000000000000000000000002", "fd000001000000000000000000000001")
GOALS = {4: "c0000207" + "00" * 12, 6: "20010db8000000000000000000000007"}

# By system and IP version: what is asked after the four addresses, and what stands there in the answer.
ENDS = {
    ("darwin", 4): ("c35000001f900000000000000000000002060002", "c35000001f900000c350000001bb000002060002"),
    ("darwin", 6): ("c35000001f90000000000000000000001e060002", "c35000001f900000c350000001bb00001e060002"),
    ("freebsd", 4): ("c3501f900000000002060200", "c3501f90c35001bb02060200"),
    ("freebsd", 6): ("c3501f90000000001c060200", "c3501f90c35001bb1c060200"),
    ("openbsd", 4): ("00000000c3501f900000000002060200", "00000000c3501f90c35001bb02060200"),
    ("openbsd", 6): ("00000000c3501f900000000018060200", "00000000c3501f90c35001bb18060200"),
}


class Device:
    """/dev/pf, which gives its answers one after the other."""

    def __init__(self, *answers: bytes | OSError):
        self.questions: list[bytes] = []
        self._answers = list(answers)

    def __call__(self, data: bytearray):
        self.questions.append(bytes(data))
        answer = self._answers.pop(0)
        if isinstance(answer, OSError):
            raise answer
        data[:] = answer


@pytest.mark.parametrize(("system", "version"), ENDS)
def test_pf_is_asked_in_its_systems_own_structure(system, version):
    asked, answered = ENDS[system, version]
    source, here = FOUR if version == 4 else SIX
    question = bytes.fromhex(source + here + NO_ADDRESS + NO_ADDRESS + asked)
    device = Device(bytes.fromhex(source + here + source + GOALS[version] + answered))
    sock = Sock(CLIENT, HERE) if version == 4 else Sock(CLIENT6, HERE6)

    found = PacketFilter(LAYOUTS[system], device).find(sock)

    assert device.questions == [question]
    assert found == ("192.0.2.7" if version == 4 else "2001:db8::7", 443)


@pytest.mark.parametrize("system", LAYOUTS)
def test_the_number_of_the_ioctl_has_the_structures_size_in_it(system):
    assert LAYOUTS[system].request == REQUESTS[system]


def test_a_connection_that_began_on_this_machine_has_a_state_of_the_other_direction():
    source, here = FOUR
    answer = bytes.fromhex(source + here + source + GOALS[4] + ENDS["freebsd", 4][1])
    device = Device(FileNotFoundError(errno.ENOENT, "x"), answer)

    assert PacketFilter(LAYOUTS["freebsd"], device).find(Sock(CLIENT, HERE)) == ("192.0.2.7", 443)
    assert [question[-2] for question in device.questions] == [2, 1]  # PF_OUT, PF_IN


def test_a_connection_without_a_state_was_going_where_its_socket_is():
    device = Device(*[FileNotFoundError(errno.ENOENT, "x")] * 2)
    assert PacketFilter(LAYOUTS["openbsd"], device).find(Sock(CLIENT6, ("2001:db8::7", 443, 0, 0))) == (
        "2001:db8::7",
        443,
    )


def test_pf_that_refuses_to_answer_is_an_error():
    with pytest.raises(PermissionError):
        PacketFilter(LAYOUTS["darwin"], Device(PermissionError(errno.EPERM, "x"))).find(Sock(CLIENT, HERE))


def test_the_zone_of_an_address_is_not_asked_for():
    device = Device(*[FileNotFoundError(errno.ENOENT, "x")] * 2)
    PacketFilter(LAYOUTS["darwin"], device).find(Sock(("fe80::1%lo0", 50000, 0, 1), HERE6))
    assert device.questions[0].startswith(bytes.fromhex("fe800000000000000000000000000001"))


# -- which one --------------------------------------------------------------------------------------------------------


def test_linux_has_its_own_lookup():
    assert isinstance(open_lookup("linux"), Netfilter)


@pytest.mark.parametrize("platform", ["darwin", "freebsd14", "freebsd", "openbsd7"])
def test_pf_is_opened_once_and_at_start(platform, tmp_path, monkeypatch):
    monkeypatch.setattr(pf, "DEVICE", str(tmp_path / "pf"))
    with pytest.raises(SettingsError, match=r"cannot ask the packet filter .*: no such file or directory. Is pf there"):
        open_lookup(platform)

    (tmp_path / "pf").touch()
    assert isinstance(open_lookup(platform), PacketFilter)


@pytest.mark.parametrize("platform", ["win32", "sunos5", "netbsd10", "cygwin"])
def test_a_system_without_a_way_to_ask_is_refused(platform):
    with pytest.raises(SettingsError, match=f"transparent mode does not work on {platform}"):
        open_lookup(platform)


@pytest.mark.parametrize(
    "lookup", [Netfilter(), PacketFilter(LAYOUTS["freebsd"], lambda _: Path("/no such file").stat())]
)
def test_a_real_connection_that_nobody_redirected_was_going_where_it_arrived(lookup):
    one, other = connected()
    assert lookup.find(other) == one.getpeername()
    one.close()
    other.close()
