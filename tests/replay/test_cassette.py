"""--record-mode: what a file answers, and what is recorded into it."""

import pytest

from mitmdump.errors import SettingsError
from mitmdump.replay.cassette import with_cassette
from mitmdump.settings import Settings

WHAT = "!~replays & ~done"


@pytest.fixture
def cassette(tmp_path):
    """The name of a cassette, which is there if it is asked for so."""

    def name(*, exists):
        path = tmp_path / "100%.flows"
        if exists:
            path.write_bytes(b"flows")
        return str(path)

    return name


@pytest.mark.parametrize(
    ("mode", "exists", "answers", "records"),
    [
        ("once", True, True, None),
        ("once", False, False, ""),
        ("new", True, True, "+"),
        ("new", False, False, ""),
        ("all", True, False, ""),
        ("all", False, False, ""),
        ("none", True, True, None),
        ("none", False, True, None),  # and reading it says that it is not there
    ],
)
def test_a_mode_says_what_a_file_answers_and_how_it_is_recorded_into(cassette, mode, exists, answers, records):
    name = cassette(exists=exists)

    settings = with_cassette(Settings(server_replay=(name,), record_mode=mode))

    assert settings.server_replay == ((name,) if answers else ())
    escaped = name.replace("%", "%%")  # which outputs take for conversions of strftime
    assert settings.save == (() if records is None else ((records + escaped, WHAT),))
    assert settings.replay_extra == ("kill" if records is None else "forward")


@pytest.mark.parametrize(
    ("filters", "recorded"),
    [({"filter": "~d a"}, "~d a"), ({"filter": "~d a", "replay_filter": "~d b | ~q"}, "~d b | ~q")],
)
def test_what_is_chosen_for_replay_is_what_is_recorded(cassette, filters, recorded):
    settings = with_cassette(Settings(server_replay=(cassette(exists=False),), record_mode="new", **filters))

    assert settings.save[0][1] == f"({recorded}) & {WHAT}"


def test_without_a_mode_nothing_changes():
    settings = Settings(server_replay=("a", "b"))

    assert with_cassette(settings) is settings


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"server_replay": ("a", "b")}, "about one file"),
        ({"server_replay": ("-",)}, "about one file"),
        ({"replay_extra": "forward"}, "leave --replay-extra forward away"),
        ({"body_limit": 0}, "--body-limit"),
        ({"rotate_flows": 5}, "--rotate-flows"),
        ({"redact": ((("query", "token"),),)}, "--redact-key"),
    ],
)
def test_what_makes_no_cassette_is_refused(cassette, options, complaint):
    options = {"server_replay": (cassette(exists=True),), "record_mode": "new", **options}

    with pytest.raises(SettingsError, match=complaint):
        with_cassette(Settings(**options))
