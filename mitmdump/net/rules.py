"""What a packet filter has to be told so that connections come to a transparent proxy, and how it forgets it again.

Connections that are only forwarded by this machine are caught where they come in, those that begin on it where they
leave. Ours to servers must not be: they are known by their mark (`--mark`), or, as marks take privileges, by the user
that mitmdump runs as, whose other programs then are left out as well. TPROXY works where packets come in, so it catches
what is forwarded only; it needs routing that keeps such packets on this machine, by rules of a table of their own.

The end-to-end tests load these very rules, those for pf apart.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..errors import SettingsError

# The mark of packets that TPROXY keeps here, and the routing table that does it: some number that nobody else uses.
TPROXY_MARK = TPROXY_TABLE = 28004


@dataclass(frozen=True, slots=True)
class Redirection:
    """TCP connections to `ports` are to go to our port `to`, but not ours.

    Ours have `mark`, or if that is None belong to the user `uid`. `system` is this system's name (`sys.platform`).
    """

    ports: tuple[int, ...]
    to: int
    mark: int | None
    uid: int
    system: str

    @property
    def port_set(self) -> str:
        """The ports in the notation of nft and pf."""
        return f"{{ {', '.join(map(str, self.ports))} }}"


def rules(wanted: str, redirection: Redirection) -> str:
    """The text that --print-rules prints; `wanted` is KIND[,tproxy][,undo]. Raises SettingsError."""
    kind, *options = wanted.split(",")
    undo = "undo" in options
    make = _MAKERS.get((kind, "tproxy" in options))
    if make is None or not {"tproxy", "undo"}.issuperset(options):
        raise SettingsError(
            f"--print-rules: {wanted!r} is nothing that there are rules of: give nft, iptables or pf, "
            "the first two perhaps with ,tproxy, any with ,undo"
        )
    if redirection.mark == TPROXY_MARK:
        raise SettingsError(f"--mark: {TPROXY_MARK} is the mark of the rules for TPROXY. Choose another")
    return "\n".join(make(redirection, undo))


def _nft(redirection: Redirection, undo: bool) -> list[str]:
    if undo:
        return ["delete table inet mitmdump"]
    redirect = f"tcp dport {redirection.port_set} redirect to :{redirection.to}"
    own = f"meta mark {redirection.mark}" if redirection.mark else f"meta skuid {redirection.uid}"
    return [
        *_heading(redirection, "nft -f -"),
        *_nft_table(
            _nft_chain("prerouting", "nat hook prerouting priority dstnat", redirect),
            _nft_chain("output", "nat hook output priority -100", f"{own} return", redirect),
        ),
    ]


def _nft_tproxy(redirection: Redirection, undo: bool) -> list[str]:
    routing = ["# And these commands:", *(f"#   {line}" for line in _tproxy_routing(undo))]
    if undo:
        return ["delete table inet mitmdump", *routing]
    catch = [
        f"meta nfproto {family} tcp dport {redirection.port_set} "
        f"tproxy {short} to :{redirection.to} meta mark set {TPROXY_MARK} accept"
        for family, short in (("ipv4", "ip"), ("ipv6", "ip6"))
    ]
    chain = _nft_chain("prerouting", "filter hook prerouting priority mangle", 'iifname "lo" return', *catch)
    return ["# Load with: nft -f -", *routing, *_nft_table(chain)]


def _nft_table(*chains: list[str]) -> list[str]:
    """A table that replaces what was in it, should these rules be loaded already."""
    body = [f"    {line}" for chain in chains for line in chain]
    return ["table inet mitmdump", "delete table inet mitmdump", "table inet mitmdump {", *body, "}"]


def _nft_chain(name: str, hook: str, *statements: str) -> list[str]:
    return [f"chain {name} {{", f"    type {hook}; policy accept;", *(f"    {line}" for line in statements), "}"]


def _iptables(redirection: Redirection, undo: bool) -> list[str]:
    own = f"-m mark ! --mark {redirection.mark}" if redirection.mark else f"-m owner ! --uid-owner {redirection.uid}"
    target = f"-j REDIRECT --to-ports {redirection.to}"
    commands = _iptables_commands(
        undo,
        f"-t nat {{}} PREROUTING {_multiport(redirection)} {target}",
        f"-t nat {{}} OUTPUT {_multiport(redirection)} {own} {target}",
    )
    return commands if undo else [*_heading(redirection, "sh"), *commands]


def _iptables_tproxy(redirection: Redirection, undo: bool) -> list[str]:
    target = f"-j TPROXY --on-port {redirection.to} --tproxy-mark {TPROXY_MARK}"
    commands = _iptables_commands(undo, f"-t mangle {{}} PREROUTING ! -i lo {_multiport(redirection)} {target}")
    commands += _tproxy_routing(undo)
    return commands if undo else ["# Run with: sh", *commands]


def _iptables_commands(undo: bool, *rules: str) -> list[str]:
    return [f"{name} {rule.format('-D' if undo else '-A')}" for name in ("iptables", "ip6tables") for rule in rules]


def _multiport(redirection: Redirection) -> str:
    return f"-p tcp -m multiport --dports {','.join(map(str, redirection.ports))}"


def _tproxy_routing(undo: bool) -> list[str]:
    """Packets with the mark are for this machine, whatever their destination."""
    verb = "del" if undo else "add"
    return [
        f"ip -{version} {what}"
        for version in (4, 6)
        for what in (
            f"rule {verb} fwmark {TPROXY_MARK} lookup {TPROXY_TABLE}",
            f"route {verb} local default dev lo table {TPROXY_TABLE}",
        )
    ]


def _pf(redirection: Redirection, undo: bool) -> list[str]:
    if undo:
        return ["# Take the lines out of pf.conf again, and run this:", "pfctl -f /etc/pf.conf"]
    goals = [("inet", "127.0.0.1"), ("inet6", "::1")]
    here = f"proto tcp from any to any port {redirection.port_set}"
    if redirection.system.startswith("openbsd"):
        return [
            "# For /etc/pf.conf of OpenBSD. Connections that begin on this machine are not caught.",
            *(f"pass in quick {family} {here} divert-to {goal} port {redirection.to}" for family, goal in goals),
        ]
    # What leaves this machine is sent to lo0, where it comes in and is caught.
    return [
        "# For /etc/pf.conf of macOS or FreeBSD: the rdr lines behind its rdr-anchor lines, the others at its end.",
        f"# Left out is what user {redirection.uid} sends, as which mitmdump has to run.",
        *(f"rdr pass {family} {here} -> {goal} port {redirection.to}" for family, goal in goals),
        *(
            f"pass out route-to (lo0 {goal}) {family} {here} user != {redirection.uid} keep state"
            for family, goal in goals
        ),
    ]


def _heading(redirection: Redirection, command: str) -> list[str]:
    if redirection.mark:
        left_out = f"packets with mark {redirection.mark}, as mitmdump sends them with --mark {redirection.mark}"
    else:
        left_out = f"what user {redirection.uid} sends, as which mitmdump has to run"
    return [f"# {'Run' if command == 'sh' else 'Load'} with: {command}", f"# Left out: {left_out}."]


_MAKERS: dict[tuple[str, bool], Callable[[Redirection, bool], list[str]]] = {
    ("nft", False): _nft,
    ("nft", True): _nft_tproxy,
    ("iptables", False): _iptables,
    ("iptables", True): _iptables_tproxy,
    ("pf", False): _pf,
}
