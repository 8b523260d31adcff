"""When requests leave: never more at a time, never faster, never out of order, and with their think times."""

from hypothesis import given, settings
from hypothesis import strategies as st

from mitmdump.replay.schedule import AT_ONCE, Schedule, Times


def test_without_think_times_the_first_leaves_at_once():
    assert Schedule().due(Times(50.0, 51.0)) == AT_ONCE


def test_the_next_waits_for_one_to_end_when_all_places_are_taken():
    schedule = Schedule(concurrency=2)
    first = schedule.began(Times(0, 1), 0)
    schedule.began(Times(0, 1), 0)

    assert schedule.due(Times(0, 1)) is None
    schedule.ended(first, 5)
    assert schedule.due(Times(0, 1)) == AT_ONCE


def test_a_think_time_begins_when_the_answer_has_come():
    schedule = Schedule(concurrency=9, speed=1)
    number = schedule.began(Times(100, 101), 0)

    assert schedule.due(Times(104, 105)) is None
    schedule.ended(number, 20)
    assert schedule.due(Times(104, 105)) == 23


def test_what_began_while_another_ran_does_so_again():
    schedule = Schedule(concurrency=9, speed=1)
    schedule.began(Times(100, 110), 0)

    assert schedule.due(Times(101, 103)) == 1


def test_a_think_time_is_divided_by_the_speed():
    schedule = Schedule(concurrency=9, speed=4)
    schedule.began(Times(100, 200), 10)

    assert schedule.due(Times(108, 109)) == 12


def test_what_never_ended_is_not_waited_for():
    schedule = Schedule(concurrency=9, speed=1)
    schedule.began(Times(100, None), 0)

    assert schedule.due(Times(105, 106)) == 5


def test_another_recording_begins_without_a_think_time():
    schedule = Schedule(speed=1)
    schedule.ended(schedule.began(Times(100, 101), 0), 1)
    schedule.restart()

    assert schedule.due(Times(9999, 9999)) == AT_ONCE


def test_a_recording_may_begin_while_the_last_one_still_runs():
    schedule = Schedule(concurrency=2, speed=1)
    number = schedule.began(Times(100, 101), 0)
    schedule.restart()
    assert schedule.due(Times(9999, 9999)) == AT_ONCE
    schedule.ended(number, 1)

    assert schedule.in_flight == 0


def test_a_clock_that_was_set_back_in_the_recording_makes_no_wait():
    schedule = Schedule(concurrency=9, speed=1)
    schedule.began(Times(100, 90), 0)

    assert schedule.due(Times(95, 96)) is None  # it has ended by then, says the recording
    schedule.ended(1, 3)
    assert schedule.due(Times(95, 96)) == 0


recordings = st.lists(
    st.builds(lambda start, length: Times(start, start + length), st.floats(0, 50), st.floats(0, 9)), max_size=25
).map(sorted)
lasting = st.lists(st.floats(0, 20), min_size=25, max_size=25)


def play(schedule: Schedule, recording: list[Times], lasting: list[float]) -> list[tuple[float, float, int]]:
    """Begin, end and how many were in flight of each request, in a world where each lasts as long as it is told to."""
    now, running, played = 0.0, [], []
    for times, lasts in zip(recording, lasting, strict=False):
        while (due := schedule.due(times)) is None:
            end, number = min(running)
            running.remove((end, number))
            now = max(now, end)
            schedule.ended(number, now)
        now = max(now, due)
        for end, number in sorted(running):
            if end <= now:
                running.remove((end, number))
                schedule.ended(number, end)
        running.append((now + lasts, schedule.began(times, now)))
        played.append((now, now + lasts, schedule.in_flight))
    return played


@given(recordings, lasting, st.integers(1, 4), st.none() | st.floats(0.1, 10), st.none() | st.floats(0.1, 100))
@settings(max_examples=60)
def test_never_more_are_in_flight_than_may_be(recording, lasting, concurrency, speed, rate):
    """P3"""
    played = play(Schedule(concurrency=concurrency, speed=speed, rate=rate), recording, lasting)

    assert all(in_flight <= concurrency for _, _, in_flight in played)
    assert [begin for begin, _, _ in played] == sorted(begin for begin, _, _ in played)


@given(recordings, lasting, st.integers(1, 30), st.floats(0.1, 50))
@settings(max_examples=60)
def test_never_more_leave_than_the_rate_allows(recording, lasting, concurrency, rate):
    begins = [begin for begin, _, _ in play(Schedule(concurrency=concurrency, rate=rate), recording, lasting)]

    for first in range(len(begins)):
        for last in range(first, len(begins)):
            assert last - first <= (begins[last] - begins[first]) * rate + 1 + 1e-6


@given(recordings, lasting, st.floats(0.1, 10))
@settings(max_examples=60)
def test_what_came_after_an_answer_comes_after_it_again(recording, lasting, speed):
    played = play(Schedule(concurrency=99, speed=speed), recording, lasting)

    for at, times in enumerate(recording):
        for earlier, (_, end, _) in zip(recording[:at], played, strict=False):
            if earlier.end <= times.start:
                assert played[at][0] >= end


@given(recordings)
@settings(max_examples=60)
def test_a_server_as_fast_as_then_gives_the_recorded_times_again(recording):
    lasting = [(times.end or 0) - times.start for times in recording]
    played = play(Schedule(concurrency=99, speed=1), recording, lasting)

    for times, (begin, _, _) in zip(recording, played, strict=True):
        assert abs(begin - (times.start - recording[0].start)) < 1e-6


def test_the_delays_of_a_timer_do_not_add_up():
    schedule, due = Schedule(concurrency=9, rate=10), []

    for now in (0.0, 0.13, 0.25, 0.5):  # the last one not because of a timer
        schedule.began(Times(0, 1), now)
        due.append(round(schedule.due(Times(0, 1)) or 0, 6))

    assert due == [0.1, 0.2, 0.3, 0.6]
