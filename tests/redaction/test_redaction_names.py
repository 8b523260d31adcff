"""Parameters are found by name, however it is spelled, and their values go as a whole."""

import pytest

from mitmdump.redaction.names import Parameters

TOKEN = Parameters(["token", "my key"], lambda secret: b"<%b>" % secret)


@pytest.mark.parametrize(
    ("url", "wanted"),
    [
        (b"/?token=s", b"/?token=<s>"),
        (b"/?a=1&token=s&b=2", b"/?a=1&token=<s>&b=2"),
        (b"/?token=&token", b"/?token=<>&token"),
        (b"/?tokens=s&xtoken=s&Token=s", b"/?tokens=s&xtoken=s&Token=s"),
        (b"/?t%6Fken=s&t%6fken=s", b"/?t%6Fken=<s>&t%6fken=<s>"),
        (b"/?my+key=s&my%20key=s", b"/?my+key=<s>&my%20key=<s>"),
        (b"/?token=a%20b+c", b"/?token=<a b c>"),
        (b"/?token=s;t'\"?=u", b"/?token=<s;t'\"?=u>"),
        (b"/?u=http://h/?token=s", b"/?u=http://h/?token=<s>"),
        (b"/?u=http%3A%2F%2Fh%3Fa%3Db%26token%3Ds%26c%3Dd&e", b"/?u=http%3A%2F%2Fh%3Fa%3Db%26token%3D<s>%26c%3Dd&e"),
        (b"https://h/#token=s&a=b", b"https://h/#token=<s>&a=b"),
        (b"/token=s", b"/token=s"),
    ],
)
def test_in_a_url(url, wanted):
    assert TOKEN.in_url(url) == wanted


def test_among_words_a_url_ends_where_urls_end():
    text = b'<https://h/?token=s>; rel="next", see "/?token=t" or /?a&token=u.'

    assert TOKEN.in_words(text) == b'<https://h/?token=<s>>; rel="next", see "/?token=<t>" or /?a&token=<u.>'


def test_in_a_form():
    assert TOKEN.in_form(b"token=s&a=?token=t&token=u=v\r\n") == b"token=<s>&a=?token=t&token=<u=v\r\n>"
