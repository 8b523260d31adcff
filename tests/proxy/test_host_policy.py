"""--ignore-hosts, --allow-hosts and --tcp-hosts as a decision; and the memory of --fail-open."""

import pytest

from mitmdump.proxy.policy import Policy, Refusals, Treatment, names_of
from mitmdump.settings import Settings

INTERCEPT, RAW, UNTOUCHED = Treatment.INTERCEPT, Treatment.RAW, Treatment.UNTOUCHED
NAMES = [*names_of("192.0.2.1", 443, "api.Example.com"), "[2001:db8::1]:443"]


def policy(**settings: tuple[str, ...]) -> Policy:
    return Policy(Settings(**settings), pytest.fail)


@pytest.mark.parametrize(
    ("settings", "treatment"),
    [
        ({}, INTERCEPT),
        ({"ignore_hosts": (r"^192\.0\.2\.1:443$",)}, UNTOUCHED),
        ({"ignore_hosts": (r"EXAMPLE\.COM:443$",)}, UNTOUCHED),
        ({"ignore_hosts": (r"example\.com$",)}, UNTOUCHED),
        ({"ignore_hosts": (r"^\[2001:db8::1]",)}, UNTOUCHED),
        ({"ignore_hosts": ("other", r"^api\.")}, UNTOUCHED),
        ({"ignore_hosts": ("other",)}, INTERCEPT),
        ({"allow_hosts": ("example",)}, INTERCEPT),
        ({"allow_hosts": ("other",)}, UNTOUCHED),
        ({"allow_hosts": ("example",), "ignore_hosts": ("^api",)}, UNTOUCHED),
        ({"tcp_hosts": ("example",)}, RAW),
        ({"tcp_hosts": ("other",)}, INTERCEPT),
        ({"tcp_hosts": ("example",), "allow_hosts": ("example",)}, RAW),
        ({"tcp_hosts": ("example",), "allow_hosts": ("other",)}, UNTOUCHED),
        ({"tcp_hosts": ("example",), "ignore_hosts": ("example",)}, UNTOUCHED),
    ],
)
def test_patterns_are_searched_in_all_names_and_what_is_ignored_stays_so(settings, treatment):
    assert policy(**settings).treatment(NAMES) is treatment


def test_only_an_ignored_name_decides_before_all_are_known():
    assert policy(ignore_hosts=("192",)).ignores(NAMES[:1])
    assert not policy(allow_hosts=("other",)).ignores(NAMES)


def test_without_patterns_nobody_has_to_ask():
    assert not policy()
    assert policy(tcp_hosts=("x",))


def test_a_pattern_made_to_be_slow_is_given_up_with_a_warning():
    said = []
    slow = Policy(Settings(ignore_hosts=("(a+)+$",)), said.append)
    assert not slow.ignores(["a" * 40 + "!"])
    assert "gave up searching" in said[0]


def test_a_refused_host_is_remembered_whatever_its_case():
    refusals = Refusals(enabled=True)
    assert refusals.refused("A.test", "alert", certain=True)
    assert not refusals.refused("a.test", "alert", certain=True), "not new"
    refusals.accepted("a.test")
    assert "a.TEST" in refusals
    assert refusals.hosts == ["a.test"]


def test_a_client_that_only_leaves_does_not_count_where_another_has_taken_the_certificate():
    refusals = Refusals(enabled=True)
    refusals.accepted("a.test")
    assert not refusals.refused("a.test", "left", certain=False)
    assert "a.test" not in refusals
    assert refusals.refused("a.test", "alert", certain=True)
    assert refusals.refused("b.test", "left", certain=False)


def test_nothing_is_remembered_without_fail_open():
    refusals = Refusals(enabled=False)
    assert not refusals.refused("a.test", "alert", certain=True)
    assert "a.test" not in refusals


def test_the_memory_of_hosts_is_bounded():
    refusals = Refusals(enabled=True, max_hosts=2)
    for host in ("a", "b", "c"):
        refusals.refused(host, "alert", certain=True)
    assert refusals.hosts == ["b", "c"]
