"""A request that matches nothing: which recorded ones come closest, and what differs.

Only those with the same path or the same host are looked at, and no more than so many, so that a miss costs a
millisecond or two however many recordings there are. What differs is said part by part, for a person: `query: page=3,
recorded page=2`. Values of what sounds like a secret are not shown. Everything is harmless on a terminal.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from difflib import SequenceMatcher
from itertools import chain, islice
from typing import Any, NamedTuple

from ..errors import FlowFileError
from ..sinks.words import harmless
from .answers import Answers
from .bodies import NOTHING, Pairs, Said
from .match import Parts, recorded_parts

_LOOKED_AT = 50  # by path, and by host
_SHOWN = 3
_AS_CLOSE = 2.0  # as the closest, so that it is worth being told, too
_READ = 4 * 1024 * 1024  # bytes of recorded bodies: to compare as much of JSON takes some tenths of a second
_DIFFERENCES = 6  # that are told of one part, and values of one parameter
_COUNTED = 1000  # differences in one part; more say no more
_LONGEST = 60  # characters of a value
_COMPARED = 200  # characters of a path, as finding what two have in common takes the product of their lengths
_SECRET = re.compile(r"passw|secret|token|api.?key|auth|session|signature|credential|cookie|\bsid\b", re.IGNORECASE)

# What a difference in a part says about how far two requests are from one another.
_WEIGHTS = {"scheme": 1.0, "port": 1.0, "host": 3.0, "method": 2.0}
_OF_PATH = 6.0
_OF_OTHERS = 2.0  # query, body, header fields: for the first difference, and half as much for each that follows


class Near(NamedTuple):
    """A recorded request: its number, its method and URL without the query, and what differs from what was asked."""

    number: int
    name: str
    differences: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.name} ({'; '.join(self.differences) or 'the same, but it is used up'})"


def nearest(asked: Parts, answers: Answers) -> list[Near]:
    """The recorded requests that come closest to one with these parts, the closest first."""
    found: dict[tuple[str, ...], tuple[float, Near]] = {}
    room = _READ
    for number in _candidates(asked, answers):
        try:
            flow = answers.take(number)
            assert flow.request
            assert flow.response
            room -= flow.request.body.length
            if room < 0 and found:
                break
            recorded = recorded_parts(answers.matching, flow.request, flow.response)
        except FlowFileError:
            continue
        differing = compare(asked, recorded)
        differences = tuple(chain.from_iterable(differing.values()))
        near = Near(number, harmless(_name(flow.request.method, flow.request.url)), differences)
        distance = sum(_weight(name, texts, asked, recorded) for name, texts in differing.items())
        found.setdefault((near.name, *differences), (distance, near))
    ranked = sorted(found.values(), key=lambda each: each[0])
    return [near for distance, near in ranked[:_SHOWN] if distance <= ranked[0][0] + _AS_CLOSE]


def _candidates(asked: Parts, answers: Answers) -> Iterable[int]:
    alike = (answers.alike(part, asked[part], _LOOKED_AT) for part in ("path", "host") if part in asked)
    return dict.fromkeys(chain.from_iterable(alike))


def _name(method: str, url: str) -> str:
    return _cut(f"{method} {url.partition('?')[0]}", 2 * _LONGEST)


# -- what differs -----------------------------------------------------------------------------------------------------


def compare(asked: Parts, recorded: Parts) -> dict[str, list[str]]:
    """What differs between the parts of two requests: texts, by the name of the part."""
    return {
        name: list(_differences(name, asked.get(name), recorded.get(name)))
        for name in dict.fromkeys((*asked, *recorded))
        if asked.get(name) != recorded.get(name)
    }


def _differences(name: str, one: Any, other: Any) -> Iterator[str]:
    """How one part of two requests differs."""
    if name == "query":
        yield from _pairs("query", one or (), other or ())
    elif name == "body":
        yield from _body(one or NOTHING, other or NOTHING)
    elif name.startswith("header "):
        yield _field(name, one or (), other or ())
    else:
        yield f"{name}: {_shown(one)}, recorded {_shown(other)}"


def _field(name: str, one: tuple[str, ...], other: tuple[str, ...]) -> str:
    if _SECRET.search(name):
        return harmless(f"{name}: another value") if one and other else harmless(f"{name}: {_either(one)}")
    return harmless(f"{name}: {_shown(', '.join(one)) if one else 'none'}, recorded ") + (
        _shown(", ".join(other)) if other else "none"
    )


def _either(one: object) -> str:
    return "not recorded" if one else "missing"


def _pairs(what: str, one: Pairs, other: Pairs) -> Iterator[str]:
    """How two sets of parameters differ, a text for each name."""
    ours, theirs = _by_name(one), _by_name(other)
    values = ((name, ours.get(name, []), theirs.get(name, [])) for name in {**ours, **theirs})
    yield from _limited(what, (_difference(*each) for each in values if each[1] != each[2]))


def _by_name(pairs: Pairs) -> dict[str, list[str]]:
    values: dict[str, list[str]] = {}
    for name, value in pairs:
        values.setdefault(name, []).append(value)
    return values


def _difference(name: str, one: list[str], other: list[str]) -> str:
    """How the values of one name differ."""
    if _SECRET.search(name):
        return _shown(name) + (" has another value" if one and other else f" {_either(one)}")
    if not other:
        return f"{_listed(name, one)} not recorded"
    return f"{_listed(name, one) or 'nothing'}, recorded {_listed(name, other)}"


def _listed(name: str, values: list[str]) -> str:
    more = [f"{len(values) - _DIFFERENCES} more"] if len(values) > _DIFFERENCES else []
    return ", ".join([*(_shown(f"{name}={value}") for value in values[:_DIFFERENCES]), *more])


def _limited(what: str, differences: Iterable[str]) -> Iterator[str]:
    counted = list(islice(differences, _COUNTED))
    yield from (f"{what}: {each}" for each in counted[:_DIFFERENCES])
    if more := len(counted[_DIFFERENCES:]):
        yield f"{what}: {more} {'or ' if len(counted) == _COUNTED else ''}more differences"


def _body(one: Said, other: Said) -> Iterator[str]:
    if one.kind != other.kind:
        yield f"body: {_KINDS[one.kind]}, recorded {_KINDS[other.kind]}"
    elif one.kind == "form":
        yield from _pairs("body", one.value, other.value)
    elif one.kind == "json":
        try:
            yield from _limited("body", _json("$", one.value, other.value))
        except RecursionError:  # nested as no program would
            yield "body: other JSON"
    else:
        yield f"body: other bytes ({one.size}, recorded {other.size})"


_KINDS = {"none": "none", "form": "a form", "json": "JSON", "bytes": "neither a form nor JSON"}
_ABSENT = object()


def _json(path: str, one: Any, other: Any) -> Iterator[str]:
    """Where two JSON values differ."""
    if isinstance(one, dict) and isinstance(other, dict):
        for key in dict.fromkeys((*one, *other)):
            yield from _json(f"{path}.{key}", one.get(key, _ABSENT), other.get(key, _ABSENT))
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for index, (each, counterpart) in enumerate(zip(one, other, strict=True)):
            yield from _json(f"{path}[{index}]", each, counterpart)
    elif json.dumps(one, default=repr, sort_keys=True) != json.dumps(other, default=repr, sort_keys=True):
        if _SECRET.search(path):
            yield f"{_shown(path)} has another value"
        else:
            yield f"{_shown(path)}={_value(one)}, recorded {_value(other)}"


def _value(value: Any) -> str:
    if value is _ABSENT:
        return "nothing"
    return f"{len(value)} elements" if isinstance(value, list) else _shown(json.dumps(value, sort_keys=True))


def _shown(value: object) -> str:
    return _cut(harmless(str(value)), _LONGEST)


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else text[: longest - 3] + "..."


# -- how far that is --------------------------------------------------------------------------------------------------


def _weight(name: str, texts: Sequence[str], asked: Parts, recorded: Parts) -> float:
    """What these differences in one part say about how far two requests are from one another."""
    if name == "path":
        one, other = asked[name][:_COMPARED], recorded[name][:_COMPARED]
        return 1.0 + _OF_PATH * (1.0 - SequenceMatcher(None, one, other, autojunk=False).ratio())
    return _WEIGHTS.get(name) or _OF_OTHERS * (1 + len(texts)) / 2
