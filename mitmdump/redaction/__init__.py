"""Replacing secrets by pseudonyms: what --redact says, and what it does to texts and bytes. Pure functions.

A pseudonym is `redacted-` and 16 hexadecimal digits of the secret's HMAC-SHA256 (RFC 2104). Under one key the same
secret has the same pseudonym wherever it stands, so a token can be followed from a response to the requests that use
it, and requests that were equal stay equal. Without the key nobody can try out what a pseudonym might stand for, and
it has no character that a header, a cookie, a URL, a form or JSON would escape.

Names, and what surrounds a value, stay as they are. What is empty is no secret, and what is a pseudonym already stays
one, so a capture can be redacted again.

| module | holds |
|---|---|
| `rules` | the words of --redact |
| `jsonpath` | paths into JSON |
| `jsontext` | JSON texts with some values replaced, the rest untouched |
| `names` | the parameters of URLs and forms, found by name however it is encoded |
| `bodies` | which bodies may hold a secret, and how they read without it |
| `redactor` | all of it, applied to the parts of a flow |
"""

from .redactor import Redactor
from .rules import Rule, parse_rules

__all__ = ["Redactor", "Rule", "parse_rules"]
