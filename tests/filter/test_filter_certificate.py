from __future__ import annotations

from ipaddress import ip_address

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st
from support.filter_certificates import issue

from mitmdump.filter.certificate import names_in

CERTIFICATE = issue(
    {NameOID.ORGANIZATION_NAME: "M\u00fcller & Co", NameOID.COMMON_NAME: "example.com"},
    [
        x509.DNSName("www.example.com"),
        x509.IPAddress(ip_address("2001:db8::1")),
        x509.UniformResourceIdentifier("spiffe://example/a"),
        x509.RFC822Name("ada@example.com"),
        x509.RegisteredID(NameOID.COMMON_NAME),
    ],
)


def test_the_names_are_the_values_of_the_subject_and_the_alternatives_not_the_issuer() -> None:
    assert names_in(CERTIFICATE) == (
        "M\u00fcller & Co",
        "example.com",
        "www.example.com",
        "2001:db8::1",
        "spiffe://example/a",
        "ada@example.com",
    )


def test_a_certificate_without_names_has_none() -> None:
    assert names_in(issue({}, [])) == ()


def test_of_ten_thousand_names_the_first_thousand_count() -> None:
    """T12"""
    crowd = issue({}, [x509.DNSName(f"{number}.test") for number in range(10_000)])
    assert len(names_in(crowd)) == 1000


@pytest.mark.parametrize("hundredths", range(100))
def test_a_certificate_that_is_cut_off_has_no_names(hundredths: int) -> None:
    """T12"""
    assert names_in(CERTIFICATE[: len(CERTIFICATE) * hundredths // 100]) == ()


@given(
    st.binary(max_size=60)
    | st.builds(
        lambda at, bite: CERTIFICATE[:at] + bite + CERTIFICATE[at + len(bite) :],
        st.integers(0, len(CERTIFICATE)),
        st.binary(min_size=1, max_size=3),
    )
)
def test_broken_der_is_no_error(der: bytes) -> None:
    """T12"""
    assert isinstance(names_in(der), tuple)
