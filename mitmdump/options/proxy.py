"""The options of the proxy."""

from __future__ import annotations

from ..settings.texts import (
    one_of,
    parse_certificate,
    parse_count,
    parse_duration,
    parse_mark,
    parse_mode,
    parse_path,
    parse_pattern,
    parse_port,
    parse_ports,
    parse_sided,
    parse_size,
    parse_tls_version,
)
from .option import Groups, Option

PROXY: Groups = {
    "Proxy": (
        Option(
            "-m, --mode",
            "mode",
            "How clients come to the proxy: regular (they know of it) or transparent (a packet filter redirects them). "
            "May be repeated, each with a place of its own to listen on.",
            "MODE[@[HOST:]PORT]",
            parse_mode,
            multiple=True,
        ),
        Option("-T", "transparent", "The same as --mode transparent."),
        Option("-p, --listen-port", "listen_port", "The port to listen on; 0 picks a free one.", "PORT", parse_port),
        Option(
            "--listen-host",
            "listen_hosts",
            "The address to listen on, instead of this machine's loopback addresses (127.0.0.1 and ::1), or in "
            "transparent mode all addresses. May be repeated.",
            "HOST",
            multiple=True,
        ),
        Option(
            "--mark",
            "mark",
            "Mark the packets to servers with N, so that rules of a packet filter can tell them from others. On Linux, "
            "as root.",
            "N",
            parse_mark,
        ),
        Option(
            "--print-rules",
            "",
            "Print the rules that redirect connections to the proxy in transparent mode, with the port and the mark of "
            "the other options, and exit. KIND is nft (for nft -f -), iptables (commands) or pf (for pf.conf); with "
            "tproxy instead of redirecting, with undo what takes the rules away again.",
            "KIND[,tproxy][,undo]",
        ),
        Option(
            "--rules-ports",
            "rules_ports",
            "The ports of servers for which --print-rules prints rules.",
            "PORT[,PORT]...",
            parse_ports,
        ),
        Option(
            "--ready-file",
            "ready_file",
            "Once the proxy listens, write FILE: JSON with its addresses and their modes, process id and CA "
            "certificate. It is removed at the end.",
            "FILE",
            parse_path,
        ),
    ),
    "Hosts": (
        Option(
            "--ignore-hosts",
            "ignore_hosts",
            "Relay connections to these hosts untouched and unrecorded: those where REGEX is found in host:port as the "
            "client asks for it, in the server name of TLS (alone, and with the port) or in the server's address:port. "
            "Small and capital letters are the same. May be repeated.",
            "REGEX",
            parse_pattern,
            multiple=True,
        ),
        Option(
            "--allow-hosts",
            "allow_hosts",
            "Do so with the connections to all hosts but these. May be repeated. --ignore-hosts takes from them.",
            "REGEX",
            parse_pattern,
            multiple=True,
        ),
        Option(
            "--tcp-hosts",
            "tcp_hosts",
            "Record connections to these hosts raw, as kind tcp; TLS is intercepted, HTTP not understood. May be "
            "repeated.",
            "REGEX",
            parse_pattern,
            multiple=True,
        ),
        Option(
            "--no-http2",
            "http2",
            "Speak HTTP/1.1 only, whatever clients and servers offer.",
            value=False,
        ),
        Option(
            "--no-websocket",
            "websocket",
            "Record what follows an upgrade to WebSocket raw, as kind tcp, and not as messages of its request.",
            value=False,
        ),
        Option(
            "--fail-open",
            "fail_open",
            "When a client refuses our certificate for a host, pass that host's connections through from then on, as "
            "with --ignore-hosts.",
        ),
        Option(
            "--no-onboarding",
            "onboarding",
            "Do not answer requests to mitm.it with a page that offers the CA certificate.",
            value=False,
        ),
    ),
    "TLS": (
        Option("--confdir", "confdir", "The directory of the CA; made on first use.", "DIR", parse_path),
        Option(
            "--ca-key",
            "ca_key",
            "The kind of key for a new CA and for leaf certificates: ec (P-256), or rsa for old clients.",
            "KIND",
            one_of("ec", "rsa"),
        ),
        Option(
            "--no-upstream-cert",
            "upstream_cert",
            "Do not look at the server's certificate before answering the client; connect only when there is a "
            "request.",
            value=False,
        ),
        Option("-k, --ssl-insecure", "ssl_insecure", "Accept any server certificate. What it is worth is recorded."),
        Option(
            "--upstream-ca",
            "upstream_ca",
            "Trust the CA certificates in FILE (PEM) for servers, besides the system's.",
            "FILE",
            parse_path,
        ),
        Option(
            "--certs",
            "certs",
            "Show clients the certificate in FILE (PEM: private key, certificate, chain) instead of one of ours, for "
            "hosts that match PATTERN: a name, *.example.com for all below it, or without PATTERN for all. The most "
            "specific one wins. May be repeated.",
            "[PATTERN=]FILE",
            parse_certificate,
            multiple=True,
        ),
        Option(
            "--client-certs",
            "client_certs",
            "Show servers that ask for one the client certificate in FILE (PEM: private key, certificate, chain), or "
            "in the file HOST.pem of a directory.",
            "FILE|DIR",
            parse_path,
        ),
        Option(
            "--request-client-cert",
            "request_client_cert",
            "Ask clients for a certificate, and record what they show. It is not verified, and none will do, too.",
        ),
        Option(
            "--tls-min",
            "tls_min",
            "The lowest version of TLS to speak: 1.0, 1.1, 1.2 or 1.3; with client= or server= in front towards those "
            "only. May be repeated. Default: 1.2.",
            "[SIDE=]VERSION",
            parse_tls_version,
            multiple=True,
        ),
        Option(
            "--tls-max",
            "tls_max",
            "The highest version of TLS to speak, in the same way. May be repeated. Default: 1.3.",
            "[SIDE=]VERSION",
            parse_tls_version,
            multiple=True,
        ),
        Option(
            "--ciphers",
            "ciphers",
            "The cipher suites to use, as in OpenSSL's ciphers(1), instead of those that are safe; with client= or "
            "server= in front towards those only. May be repeated.",
            "[SIDE=]LIST",
            parse_sided,
            multiple=True,
        ),
        Option(
            "--keylog",
            "keylog",
            "Append the secrets of all TLS sessions, on both sides, to FILE, for Wireshark and the like. Whoever has "
            "it can read those connections.",
            "FILE",
            parse_path,
        ),
    ),
    "Limits": (
        Option("--max-connections", "max_connections", "How many clients at a time.", "N", parse_count),
        Option("--max-header-size", "max_header_size", "The largest message head.", "SIZE", parse_size),
        Option("--max-header-count", "max_header_count", "The largest number of header fields.", "N", parse_count),
        Option(
            "--timeout-connect", "timeout_connect", "How long connecting to a server may take.", "TIME", parse_duration
        ),
        Option(
            "--timeout-head",
            "timeout_head",
            "How long a client may take over a request head or a TLS handshake, a server over a handshake.",
            "TIME",
            parse_duration,
        ),
        Option(
            "--timeout-idle", "timeout_idle", "How long a client may stay without a request.", "TIME", parse_duration
        ),
        Option(
            "--timeout-quiet",
            "timeout_quiet",
            "How long nothing may come while a request, response or raw connection runs.",
            "TIME",
            parse_duration,
        ),
        Option(
            "--timeout-stop",
            "timeout_stop",
            "How long what is in flight may take to finish after SIGINT or SIGTERM.",
            "TIME",
            parse_duration,
        ),
        Option(
            "--no-block-global",
            "block_global",
            "Serve clients from public addresses, too. Without it they are refused.",
            value=False,
        ),
    ),
}

OTHER: Groups = {
    "Other": (
        Option("--debug", "debug", "On an error of mitmdump itself, show the traceback."),
        Option("--version", "", "Print the version, and exit."),
        Option("-h, --help", "", "Print this help, and exit."),
    ),
}
