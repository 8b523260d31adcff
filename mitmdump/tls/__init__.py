"""Floor 1: TLS. The only place that knows OpenSSL; no sockets, no asyncio, no clock.

| module | holds |
|---|---|
| `clienthello` | reading a ClientHello from peeked bytes |
| `session` | a TLS session as a codec, over memory BIOs |
| `alerts` | OpenSSL's errors and the peer's alerts in words |
| `names` | which names go into a leaf |
| `authority` | the CA, and issuing leaves |
| `handout` | the CA's certificate in the forms that clients want |
| `confdir` | writing and reading the CA's files |
| `verify` | the verification of a server's certificate |
| `hostname` | whether a certificate is for a host |
| `identities` | certificates with private keys that the user brings, for clients or for servers |
| `parameters` | which versions and cipher suites may be negotiated |
| `keylog` | a file of the sessions' secrets |
| `shares` | which key share goes to a server that we have met |
| `resumption` | the sessions with servers that can be gone on with |
| `contexts` | making sessions: contexts, the cache of leaves, the trust store |
"""

import warnings

# cryptography warns of odd certificates, which are not ours but hostile servers', and would do so on our stderr.
warnings.filterwarnings("ignore", module=r"mitmdump\.tls\.")
