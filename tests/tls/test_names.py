"""Which names go into a leaf, whatever a server's certificate holds (T12)."""

from ipaddress import ip_address, ip_network

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID
from hypothesis import given, settings
from hypothesis import strategies as st
from support.pki import general_name, make

from mitmdump.errors import CertificateError
from mitmdump.tls.names import MAX_COMMON_NAME, MAX_NAMES, MAX_NAMES_SIZE, LeafNames, normalize

V4, V6 = ip_address("192.0.2.1"), ip_address("2001:db8::1")


def leaf_names(certificate: bytes, asked: str | None) -> LeafNames:
    return LeafNames.from_chain([certificate], asked)


def test_without_a_server_the_name_asked_for_is_all():
    assert LeafNames.from_chain((), "A.Test.") == LeafNames("a.test", ("a.test",))
    assert LeafNames.from_chain((), "192.0.2.1") == LeafNames("192.0.2.1", (), (V4,))
    assert LeafNames.from_chain((), "2001:db8::1") == LeafNames("2001:db8::1", (), (V6,))


def test_all_names_of_the_server_are_taken_over():
    certificate = make("a.test", "b.test", "*.c.test", "192.0.2.1").der
    assert leaf_names(certificate, "a.test") == LeafNames("a.test", ("a.test", "b.test", "*.c.test"), (V4,))


def test_a_common_name_that_is_a_host_name_becomes_an_alternative_name_too():
    certificate = make("b.test", common_name="Old.test").der
    assert leaf_names(certificate, None) == LeafNames("old.test", ("old.test", "b.test"))


def test_a_common_name_that_is_no_host_name_is_left_out():
    certificate = make("b.test", common_name="Kubernetes Ingress Controller Fake Certificate").der
    assert leaf_names(certificate, "b.test") == LeafNames("b.test", ("b.test",))


@pytest.mark.parametrize(
    ("asked", "added"),
    [
        ("a.test", False),
        ("x.c.test", False),
        ("192.0.2.1", False),
        ("z.test", True),
        ("x.y.c.test", True),
        ("c.test", True),
        ("xn--bcher-kva.c.test", True),  # not every client matches an A-label with a wildcard
        ("x.test", True),  # nor anything with a wildcard for a whole top-level domain
    ],
)
def test_the_name_asked_for_is_added_unless_it_is_covered(asked, added):
    certificate = make("a.test", "*.c.test", "*.test", "192.0.2.1").der
    assert (asked in leaf_names(certificate, asked).dns[3:]) == added


def test_hosts_under_one_wildcard_share_their_leaf():
    certificate = make("*.c.test").der
    assert leaf_names(certificate, "a.c.test") == leaf_names(certificate, "b.c.test")


def test_a_name_too_long_for_a_common_name_is_an_alternative_name_only():
    """T4"""
    host = f"{'a' * MAX_COMMON_NAME}"[:60] + ".test"
    assert LeafNames.from_chain((), host) == LeafNames(None, (host,))


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("bücher.test", "xn--bcher-kva.test"),
        ("BÜCHER.Test", "xn--bcher-kva.test"),
        ("xn--bcher-kva.test", "xn--bcher-kva.test"),
        ("my_host", "my_host"),
        ("*.a.test", "*.a.test"),
        ("fe80::1%eth0", ip_address("fe80::1")),
        ("１９２.0.2.1", V4),  # noqa: RUF001  what UTS 46 makes of full-width digits
        ("", None),
        (".", None),
        ("a..test", None),
        ("a.*.test", None),
        ("f*.a.test", None),
        ("a\0.test", None),
        ("a.test\n", None),
        ("a b", None),
        ("1.2.3", None),
        ("192.0.2.0/24", None),
        ("-" * 254, None),
        ("ü" * 64 + ".test", None),
        ("\ud800.test", None),
    ],
)
def test_a_name_is_normalized_or_refused(text, name):
    assert normalize(text) == name


def test_no_name_at_all_is_an_error():
    for asked in (None, "", "no host"):
        with pytest.raises(CertificateError, match="no certificate for the client"):
            leaf_names(make(common_name="no host").der, asked)


def test_names_of_other_types_are_ignored():
    others = [
        x509.RFC822Name("root@a.test"),
        x509.UniformResourceIdentifier("https://a.test/"),
        x509.RegisteredID(NameOID.COMMON_NAME),
        x509.DirectoryName(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a.test")])),
        x509.OtherName(x509.ObjectIdentifier("1.3.6.1.4.1.311.20.2.3"), b"\x0c\x01a"),
        x509.IPAddress(ip_network("192.0.2.0/24")),
    ]
    certificate = make(common_name="", alternatives=[*others, x509.DNSName("b.test")]).der
    assert leaf_names(certificate, None) == LeafNames("b.test", ("b.test",))


def test_the_number_of_names_is_bounded_and_the_one_asked_for_stays():
    certificate = make(*(f"{number}.test" for number in range(10_000))).der
    names = leaf_names(certificate, "9999.test")
    assert len(names.dns) <= MAX_NAMES + 1
    assert "9999.test" in names.dns


def test_the_size_of_names_is_bounded_and_the_one_asked_for_stays():
    long = ".".join(["a" * 60] * 4)
    certificate = make(*(f"{number}.{long}" for number in range(MAX_NAMES)), common_name="x").der
    names = leaf_names(certificate, "b.test")
    assert MAX_NAMES_SIZE - 300 < sum(map(len, names.dns)) <= MAX_NAMES_SIZE
    assert "b.test" in names.dns


def test_a_certificate_of_a_megabyte_is_no_trouble():
    certificate = make("a.test", alternatives=[x509.DNSName("a" * 1_000_000), x509.DNSName("b.test")]).der
    assert leaf_names(certificate, "a.test").dns == ("a.test",)


@pytest.mark.filterwarnings("ignore:Attribute's length")
def test_an_empty_common_name_is_none():
    empty = x509.NameAttribute(NameOID.COMMON_NAME, "", _validate=False)
    certificate = make("b.test", subject=x509.Name([empty])).der
    assert leaf_names(certificate, None) == LeafNames("b.test", ("b.test",))


CERTIFICATE = make("a.test", "b.test", "192.0.2.1").der


@pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning", "ignore::UserWarning")
@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.integers(0, len(CERTIFICATE) - 1), st.integers(0, 255)), max_size=4))
def test_a_broken_certificate_gives_names_all_the_same(changes):
    der = bytearray(CERTIFICATE)
    for at, value in changes:
        der[at] = value
    names = leaf_names(bytes(der), "z.test")
    assert "z.test" in names.dns
    assert all(normalize(name) == name for name in names.dns)


@settings(max_examples=100)
@given(st.lists(st.text(st.characters(codec="ascii"), min_size=1, max_size=30), max_size=5), st.text(max_size=20))
def test_whatever_the_names_those_in_a_leaf_are_usable(texts, asked):
    certificate = make(common_name="x", alternatives=[general_name(text) for text in texts]).der
    try:
        names = leaf_names(certificate, asked)
    except CertificateError:
        return
    assert all(normalize(name) == name for name in names.dns)
    assert names.common_name in (None, *names.dns, *map(str, names.addresses))
