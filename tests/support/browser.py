"""Headless Chromium, with our CA in its certificate store and everything verified as it always does."""

from __future__ import annotations

from pathlib import Path

from .program import Proxy
from .tools import run

# What Chromium asks of its maker's servers, at moments of its own choosing and whatever the flags say, neither reaches
# the proxy nor the network. <-loopback>: without it servers on this machine are asked directly, too.
_ITS_OWN = ("*.google.com", "*.googleapis.com", "*.gstatic.com", "*.googleusercontent.com", "*.gvt1.com")
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    f"--proxy-bypass-list={';'.join(('<-loopback>', *_ITS_OWN))}",
    f"--host-resolver-rules={','.join(f'MAP {name} ~NOTFOUND' for name in _ITS_OWN)}",
]


def make_home(home: Path, confdir: Path) -> Path:
    """A home directory whose NSS database trusts our CA, and nothing else besides Chromium's own roots."""
    database = home / ".pki/nssdb"
    database.mkdir(parents=True)
    run("certutil", "-d", f"sql:{database}", "-N", "--empty-password")
    ca = confdir / "mitmdump-ca-cert.pem"
    run("certutil", "-d", f"sql:{database}", "-A", "-t", "C,,", "-n", "mitmdump", "-i", ca)
    return home


def open_page(proxy: Proxy, url: str, home: Path, *, virtual_time: bool = True) -> str:
    """The page as it stands when its scripts have run; in real time, as soon as all that belongs to it is there."""
    profile = f"--user-data-dir={home / 'profile'}"
    server = f"--proxy-server={proxy.url}"
    time = ["--virtual-time-budget=10000"] if virtual_time else []
    options = [*FLAGS, profile, server, *time, "--dump-dom"]
    environment = {"HOME": str(home), "XDG_CONFIG_HOME": str(home), "XDG_CACHE_HOME": str(home)}
    return run("chromium", *options, url, seconds=90, **environment).stdout.decode()
