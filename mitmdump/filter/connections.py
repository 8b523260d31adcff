"""What operators look at in the connections of a flow.

An HTTP flow's connection to the server may be made, or made again, until the response comes; so where it goes is taken
from the request, and where it arrived is known at the response head. A raw connection has both from its start.
"""

from __future__ import annotations

from collections.abc import Callable

from ..model.connection import Address, Connection
from ..model.flow import Flow
from .arguments import Matcher
from .certificate import names_in
from .predicates import at_start
from .stages import Stage, Test, Verdict


def of_server(look: Callable[[Connection], bool]) -> Test:
    """A fact of the connection to the server; False where there never was one."""

    def test(flow: Flow, stage: Stage) -> Verdict:
        if stage < Stage.RESPONSE_HEAD and flow.kind == "http":
            return None
        return flow.server_conn is not None and look(flow.server_conn)

    return test


def client_address(argument: Matcher[str]) -> Test:
    """The client, as host:port."""
    matches = argument.matches
    return at_start(lambda flow: flow.client_conn.peername is not None and matches(_joined(flow.client_conn.peername)))


def destination(flow: Flow) -> Address | None:
    """Where the flow goes, as it was asked to: the request says it, of a raw connection its address."""
    if flow.request is not None:
        return flow.request.host, flow.request.port
    return flow.server_conn.address if flow.server_conn is not None else None


def destination_address(argument: Matcher[str]) -> Test:
    """Where the flow goes, as host:port."""
    matches = argument.matches
    return at_start(lambda flow: (address := destination(flow)) is not None and matches(_joined(address)))


def destination_port(argument: Matcher[float]) -> Test:
    """The port that the flow goes to."""
    matches = argument.matches
    return at_start(lambda flow: (address := destination(flow)) is not None and matches(address[1]))


def _joined(address: Address) -> str:
    return f"{address[0]}:{address[1]}"


def client_network(argument: Matcher[str]) -> Test:
    """The IP address that the client came from."""
    matches = argument.matches
    return at_start(lambda flow: _arrived_in(flow.client_conn, matches))


def server_network(argument: Matcher[str]) -> Test:
    """The IP address that the connection to the server arrived at."""
    matches = argument.matches
    return of_server(lambda connection: _arrived_in(connection, matches))


def _arrived_in(connection: Connection, matches: Callable[[str], bool]) -> bool:
    return connection.peername is not None and matches(connection.peername[0])


def intercepted_tls(argument: Matcher[str] | None) -> Test:
    """TLS between the client and us, of any version or of one."""
    if argument is None:
        return at_start(lambda flow: flow.client_conn.tls_established)
    matches = argument.matches

    def look(flow: Flow) -> bool:
        version = (flow.client_conn.tls_version or "").removeprefix("TLSv")
        return flow.client_conn.tls_established and matches("1.0" if version == "1" else version)

    return at_start(look)


def server_name(argument: Matcher[str]) -> Test:
    """The server name in the client's ClientHello."""
    matches = argument.matches
    return at_start(lambda flow: flow.client_conn.sni is not None and matches(flow.client_conn.sni))


def certificate(argument: Matcher[str]) -> Test:
    """The names in the server's certificate."""
    matches = argument.matches

    def look(connection: Connection) -> bool:
        chain = connection.certificate_list
        return bool(chain) and any(matches(name) for name in names_in(chain[0]))

    return of_server(look)


def is_unverified(connection: Connection) -> bool:
    """Was there something wrong with the server's certificate?"""
    return connection.verification not in (None, "ok")
