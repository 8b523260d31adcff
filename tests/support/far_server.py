"""The servers of a far machine: HTTP on port 80, HTTPS on 443, and on 22 a protocol in which the server speaks first.

A program of its own, as it has to run in that machine's network (see `network`). Arguments: certificate and key. It
says "ready" once it listens, and ends with its stdin.
"""

from __future__ import annotations

import asyncio
import ssl
import sys

GREETING = b"SSH-2.0-Far\r\n"
Ends = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def http(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers each request with its first line, and the address that it came from."""
    while head := (await reader.readuntil(b"\r\n\r\n")).decode():
        host = writer.get_extra_info("peername")[0].removeprefix("::ffff:")
        body = f"{head.splitlines()[0]} from {host}".encode()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
        await writer.drain()


async def greeter(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Speaks first, then gives each line back."""
    writer.write(GREETING)
    while line := await reader.readline():
        writer.write(line)
    writer.close()


async def quietly(serve, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A client that goes away is no fault."""
    try:
        await serve(reader, writer)
    except (asyncio.IncompleteReadError, OSError):
        writer.close()


async def main(certificate: str, key: str) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    for host in ("0.0.0.0", "::"):
        for port, serve, tls in ((80, http, None), (443, http, context), (22, greeter, None)):
            await asyncio.start_server(lambda r, w, serve=serve: quietly(serve, r, w), host, port, ssl=tls)
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
