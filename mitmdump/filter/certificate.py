"""The names in a certificate: enough of X.509 to read them, as a filter needs no more (RFC 5280, X.690).

The bytes come from a stranger: what is not well-formed has no names, and of many names only the first count.
"""

from __future__ import annotations

from functools import lru_cache
from ipaddress import ip_address

_VERSION, _EXTENSIONS, _OCTET_STRING = 0xA0, 0xA3, 0x04
_SUBJECT_ALT_NAME = bytes.fromhex("551d11")  # 2.5.29.17

# The string types of a subject's attributes (RFC 5280 appendix A.1); what is called teletex is Latin-1 in practice.
_ENCODINGS = {
    0x0C: "utf-8",
    0x12: "ascii",
    0x13: "ascii",
    0x14: "latin-1",
    0x16: "ascii",
    0x1C: "utf-32-be",
    0x1E: "utf-16-be",
}

# The choices of GeneralName that can be read: mail address, host, URI; IP address (RFC 5280 section 4.2.1.6).
_TEXT_NAMES = (0x81, 0x82, 0x86)
_ADDRESS = 0x87

# No honest certificate has more, and each costs a search.
MAX_NAMES = 1000

Element = tuple[int, bytes]


@lru_cache(maxsize=256)  # a server's certificate comes with each of its flows
def names_in(der: bytes) -> tuple[str, ...]:
    """The values in the subject, then the subject alternative names; () for what is no certificate."""
    try:
        ((_, certificate),) = _elements(der)
        fields = [field for field in _elements(_elements(certificate)[0][1]) if field[0] != _VERSION]
        # Serial number, signature algorithm, issuer, validity, subject, key, and what is optional.
        return tuple(_subject_values(fields[4][1]) + _alternative_names(fields[6:]))[:MAX_NAMES]
    except (ValueError, IndexError):
        return ()


def _subject_values(subject: bytes) -> list[str]:
    return [
        value.decode(_ENCODINGS[tag], "replace")
        for _, relative_name in _elements(subject)
        for _, attribute in _elements(relative_name)
        for tag, value in _elements(attribute)
        if tag in _ENCODINGS
    ]


def _alternative_names(optional: list[Element]) -> list[str]:
    for tag, wrapped in optional:
        if tag != _EXTENSIONS:
            continue
        for _, extension in _elements(_elements(wrapped)[0][1]):
            parts = _elements(extension)
            if parts[0][1] == _SUBJECT_ALT_NAME and parts[-1][0] == _OCTET_STRING:
                names = _elements(_elements(parts[-1][1])[0][1])
                return [name for name in map(_general_name, names) if name]
    return []


def _general_name(element: Element) -> str:
    tag, value = element
    if tag in _TEXT_NAMES:
        return value.decode("utf-8", "replace")
    return str(ip_address(value)) if tag == _ADDRESS else ""


def _elements(data: bytes) -> list[Element]:
    """The tags and contents of the DER elements in a row. Raises ValueError where they do not fill `data` exactly."""
    elements, position = [], 0
    while position < len(data):
        tag, length, position = data[position], data[position + 1], position + 2
        if length & 0x80:  # the long form: so many bytes of length follow (X.690 section 8.1.3.5)
            size = length & 0x7F
            length, position = int.from_bytes(data[position : position + size]), position + size
        end = position + length
        if end > len(data):
            raise ValueError("cut off")
        elements.append((tag, data[position:end]))
        position = end
    return elements
