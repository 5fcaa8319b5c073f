from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from association import tcp_info
from association.observe import Observation
from association.schedule import Reason, Schedule
from association.tcp_info import TcpInfo

MS = 1_000_000
SIZE = 525_094
WIRE = SIZE + 12 * 33 + 158 - 350  # 33 PDUs and the command, without preamble and file meta information


def info(received: int, sent: int, *, since_sent_ms: int = 0) -> TcpInfo:
    return TcpInfo(tcp_info.ESTABLISHED, 0, since_sent_ms, 0, received, sent)


def test_tells_waiting_from_receiving() -> None:
    one = Observation(0, info(200, 0))
    one.look(10 * MS, info(300, 1, since_sent_ms=8))  # we accepted the association at 2 ms; the request begins
    one.look(14 * MS, info(200 + WIRE, 1))
    assert one.fits(SIZE, info(200 + WIRE, 1))
    assert one.take(20 * MS, info(200 + WIRE, 1)) == (8 * MS, 4 * MS, 6 * MS, 0, False)


def test_a_message_that_was_handed_over_is_not_offered_again() -> None:
    one = Observation(0, info(0, 1))
    one.look(MS, info(WIRE, 1))
    one.take(2 * MS, info(WIRE, 1))
    assert not one.fits(SIZE, info(WIRE, 1))


def test_the_next_message_is_counted_from_the_answer() -> None:
    one = Observation(0, info(0, 1))
    one.look(MS, info(WIRE, 1))
    one.take(2 * MS, info(WIRE, 1))
    one.look(9 * MS, info(WIRE + 12, 2, since_sent_ms=4))
    assert not one.fits(SIZE, info(WIRE + 12, 2))
    one.look(11 * MS, info(2 * WIRE, 2))
    assert one.take(12 * MS, info(2 * WIRE, 2)) == (4 * MS, 2 * MS, 1 * MS, 0, True)


def test_a_message_after_one_that_nobody_was_told_of_does_not_follow_the_last_one_told() -> None:
    """Or the response to the last one told would seem to take as long as all that was in between."""
    one = Observation(0, info(0, 1))
    one.look(MS, info(WIRE, 1))
    one.take(2 * MS, info(WIRE, 1))
    one.look(9 * MS, info(WIRE + 12, 2))
    one.look(11 * MS, info(2 * WIRE, 2))  # this one might have been of another association just as well
    one.look(19 * MS, info(2 * WIRE + 12, 3))
    one.look(21 * MS, info(3 * WIRE, 3))
    third = one.take(22 * MS, info(3 * WIRE, 3))
    assert third is not None
    assert not third.follows
    one.look(29 * MS, info(3 * WIRE + 12, 4))
    one.look(31 * MS, info(4 * WIRE, 4))
    fourth = one.take(32 * MS, info(4 * WIRE, 4))
    assert fourth is not None
    assert fourth.follows


def test_bytes_of_a_message_nobody_was_handed_do_not_count_for_the_next() -> None:
    one = Observation(0, info(0, 1))
    one.look(MS, info(100_000, 1))  # refused, or no C-STORE at all
    one.look(2 * MS, info(100_012, 2))
    one.look(3 * MS, info(100_000 + WIRE, 2))
    assert one.fits(SIZE, info(100_000 + WIRE, 2))


def test_an_answer_that_was_not_looked_at_yet_means_unknown() -> None:
    one = Observation(0, info(0, 1))
    one.look(MS, info(WIRE, 1))
    assert not one.fits(SIZE, info(WIRE, 2))


def test_a_message_whose_begin_was_slept_over_has_no_times() -> None:
    one = Observation(0, info(0, 1))
    assert one.fits(SIZE, info(WIRE, 1))
    assert one.take(5 * MS, info(WIRE, 1)) is None


@pytest.mark.parametrize("received", [0, 200, WIRE // 2, WIRE - 20_000, WIRE + 20_000, 2 * WIRE])
def test_another_number_of_bytes_does_not_fit(received: int) -> None:
    one = Observation(0, info(0, 1))
    one.look(MS, info(received, 1))
    assert not one.fits(SIZE, info(received, 1))


def test_a_peer_with_large_data_sets_is_left_alone_after_the_first_bytes_and_one_with_small_ones_is_not() -> None:
    large, small = Observation(0, info(0, 1)), Observation(0, info(0, 1))
    for one, size in ((large, WIRE), (small, 9000)):
        one.look(MS, info(size, 1))
        one.look(5 * MS, info(size + 12, 2))
    assert (large.pause_ns, small.pause_ns) == (2 * MS, 0)  # half of the four from begin to begin
    large.look(25 * MS, info(WIRE + 3000, 2))
    assert large.pause_ns == 10 * MS  # half of how long it has been going on


@given(st.lists(st.tuples(st.integers(0, 100_000), st.integers(0, 2), st.integers(0, 50)), max_size=30))
def test_no_order_of_events_gives_a_negative_time(steps: list[tuple[int, int, int]]) -> None:
    now, received, sent = 0, 0, 0
    one = Observation(now, info(received, sent))
    for more, answers, later_ms in steps:
        now, received, sent = now + later_ms * MS, received + more, sent + answers
        reading = info(received, sent, since_sent_ms=later_ms + 4)  # a tick off, as the kernel's steps are
        if answers:
            one.look(now, reading)
        elif one.fits(more, reading):
            times = one.take(now, reading)
            assert times is None or min(times) >= 0
        assert one.pause_ns >= 0


def test_the_schedule_backs_off_up_to_its_limit_and_sleeps_for_ever_when_nothing_is_due() -> None:
    schedule = Schedule()
    assert schedule.timeout_s(0) == -1
    schedule.begin(Reason.ACCEPTING, 0, 0, 5)
    due = [now / MS for now in range(0, 20 * MS, MS // 2) if schedule.take(now)]
    assert due == [0, 1, 3, 7, 12, 17]
    schedule.end(Reason.ACCEPTING)
    assert Reason.ACCEPTING not in schedule
    assert schedule.timeout_s(0) == -1


def test_the_pause_follows_the_pace_of_the_peer() -> None:
    one = Observation(0, info(0, 1))
    for count in range(3):
        one.look((count * 10 + 1) * MS, info(count * WIRE + 100, 1 + count))
        pause_ns = one.pause_ns
        one.look((count * 10 + 4) * MS, info((count + 1) * WIRE, 1 + count))
    assert pause_ns == 5 * MS
