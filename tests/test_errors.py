"""Errors that are kept, to be raised later or more than once."""

from __future__ import annotations

import pytest

from mitmdump.errors import PeerError, ResetError, TlsError


@pytest.mark.parametrize("error", [PeerError("broken", 504), ResetError("reset", 8), TlsError("no trust")])
def test_an_error_that_is_kept_is_the_same_but_holds_on_to_nobody(error: PeerError) -> None:
    try:
        raise error
    except PeerError:
        kept = error.again()
    assert error.__traceback__ is not None
    assert kept.__traceback__ is None
    assert (type(kept), str(kept), vars(kept)) == (type(error), str(error), vars(error))
