"""fetch.py PROXY-PORT CA-FILE URL: prints the page; trusts that CA and no other, as strictly as Python can."""

import ssl
import sys
import urllib.request

port, ca, url = sys.argv[1:]
context = ssl.create_default_context(cafile=ca)
if sys.version_info >= (3, 13):
    assert context.verify_flags & ssl.VERIFY_X509_STRICT  # the default
context.verify_flags |= ssl.VERIFY_X509_STRICT
proxies = urllib.request.ProxyHandler({"https": f"http://127.0.0.1:{port}"})
opener = urllib.request.build_opener(proxies, urllib.request.HTTPSHandler(context=context))
sys.stdout.write(opener.open(url, timeout=30).read().decode())
