"""Listening sockets: one port in all families, and nothing left behind when it fails."""

import socket

import pytest

from mitmdump.net.binding import bind


def addresses(sockets: list[socket.socket]) -> list[tuple]:
    found = [sock.getsockname()[:2] for sock in sockets]
    for sock in sockets:
        sock.close()
    return found


def test_a_free_port_is_the_same_in_both_families():
    (four, port), (six, same) = addresses(bind(["127.0.0.1", "::1"], 0))
    assert (four, six, port) == ("127.0.0.1", "::1", same)
    assert port


def test_all_addresses_of_both_families_can_be_bound_at_once():
    (four, port), (six, same) = addresses(bind(["0.0.0.0", "::"], 0))
    assert (four, six, port) == ("0.0.0.0", "::", same)


def test_an_address_that_this_machine_has_not_is_left_out_unless_it_is_all():
    assert len(addresses(bind(["192.0.2.1", "127.0.0.1"], 0))) == 1
    assert len(addresses(bind(["127.0.0.1", "2001:db8::1"], 0))) == 1
    for hosts in (["192.0.2.1"], ["192.0.2.1", "2001:db8::1"]):
        with pytest.raises(OSError, match="Cannot assign requested address"):
            bind(hosts, 0)


def test_a_port_that_is_taken_is_an_error_and_leaves_nothing_bound():
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match="Address already in use"):
            bind(["127.0.0.1", "::1"], port)
        assert addresses(bind(["127.0.0.1"], port)) == [("127.0.0.1", port)]


def test_a_name_that_is_none_is_an_error():
    with pytest.raises(OSError, match="(?i)name or service|no address"):
        bind(["no such host.invalid"], 0)
