"""The rules that --print-rules prints. Those of Linux are loaded by the end-to-end tests."""

import pytest

from mitmdump.errors import SettingsError
from mitmdump.net.rules import Redirection, rules


def redirection(**changed) -> Redirection:
    return Redirection(**{"ports": (80, 443), "to": 8080, "mark": None, "uid": 1000, "system": "linux", **changed})


REDIRECTING = ["nft", "iptables"]
KINDS = [*REDIRECTING, "nft,tproxy", "iptables,tproxy"]


def said(wanted: str, **changed) -> list[str]:
    """The lines without comments."""
    return [line for line in rules(wanted, redirection(**changed)).splitlines() if not line.startswith("#")]


@pytest.mark.parametrize("wanted", [*KINDS, "pf"])
def test_rules_name_the_ports_and_where_to(wanted):
    text = "\n".join(said(wanted, ports=(8081, 22), to=9999)).replace(" ", "")
    assert "8081,22" in text
    assert "9999" in text


@pytest.mark.parametrize(
    ("wanted", "by_user", "by_mark"),
    [
        ("nft", "meta skuid 1000 return", "meta mark 23 return"),
        (
            "iptables",
            "OUTPUT -p tcp -m multiport --dports 80,443 -m owner ! --uid-owner 1000 -j",
            "-m mark ! --mark 23",
        ),
    ],
)
def test_what_we_send_is_left_out_by_its_mark_or_by_its_user(wanted, by_user, by_mark):
    assert by_user in "\n".join(said(wanted))
    assert by_mark not in "\n".join(said(wanted))
    assert by_mark in "\n".join(said(wanted, mark=23))
    assert "1000" not in rules(wanted, redirection(mark=23))


@pytest.mark.parametrize("wanted", ["iptables", "iptables,tproxy"])
def test_what_iptables_adds_is_what_it_deletes(wanted):
    added, deleted = said(wanted), said(f"{wanted},undo")
    assert [line.replace(" -A ", " -D ").replace(" add ", " del ") for line in added] == deleted


def test_the_order_of_tproxy_and_undo_does_not_matter():
    assert said("iptables,undo,tproxy") == said("iptables,tproxy,undo") != said("iptables,undo")


def test_the_table_of_nft_goes_as_a_whole():
    assert said("nft,undo") == ["delete table inet mitmdump"]
    assert said("nft")[:2] == ["table inet mitmdump", "delete table inet mitmdump"]


@pytest.mark.parametrize("system", ["darwin", "freebsd14"])
def test_pf_redirects_what_comes_in_and_what_others_send_from_here(system):
    assert said("pf", system=system) == [
        "rdr pass inet proto tcp from any to any port { 80, 443 } -> 127.0.0.1 port 8080",
        "rdr pass inet6 proto tcp from any to any port { 80, 443 } -> ::1 port 8080",
        "pass out route-to (lo0 127.0.0.1) inet proto tcp from any to any port { 80, 443 } user != 1000 keep state",
        "pass out route-to (lo0 ::1) inet6 proto tcp from any to any port { 80, 443 } user != 1000 keep state",
    ]
    assert said("pf,undo", system=system) == ["pfctl -f /etc/pf.conf"]


def test_pf_of_openbsd_diverts():
    assert said("pf", system="openbsd7") == [
        "pass in quick inet proto tcp from any to any port { 80, 443 } divert-to 127.0.0.1 port 8080",
        "pass in quick inet6 proto tcp from any to any port { 80, 443 } divert-to ::1 port 8080",
    ]


@pytest.mark.parametrize("wanted", ["", "ipfw", "pf,tproxy", "tproxy", "nft,", "nft,redo", "NFT", "nft undo"])
def test_there_are_no_other_rules(wanted):
    with pytest.raises(SettingsError, match="is nothing that there are rules of"):
        rules(wanted, redirection())


def test_our_mark_is_not_that_of_what_tproxy_catches():
    with pytest.raises(SettingsError, match="is the mark of the rules for TPROXY"):
        rules("nft,tproxy", redirection(mark=28004))
