from collections.abc import Callable
from threading import Barrier, Thread

import pytest
from hypothesis import given
from hypothesis import strategies as st

from timing import ProtocolSnapshot, Recorder, Settings
from timing.in_flight import InFlight
from timing.registry import MAX_IN_FLIGHT

from .conftest import MS, Clock


def on_another_thread(work: Callable[[], object]) -> None:
    thread = Thread(target=work)
    thread.start()
    thread.join()


def protocol(recorder: Recorder, name: str = "http") -> ProtocolSnapshot:
    return next(entry for entry in recorder.snapshot().protocols if entry.protocol == name)


def sums_ms(entry: ProtocolSnapshot) -> dict[str, float]:
    return {stage.stage: round(stage.mean_ms * stage.count, 6) for stage in entry.stages}


def store(recorder: Recorder, clock: Clock, name: str = "http", size_bytes: int = 1000) -> None:
    """One image with 1 ms of transcoding, 2 of preparing, 3 + 1 + 4 of writing twice and 5 of commit."""
    recorder.received(name, size_bytes)
    clock.wait_ms(1)
    recorder.transcoded("kept")
    clock.wait_ms(2)
    recorder.write_started(600)
    clock.wait_ms(3)
    recorder.write_ended()
    clock.wait_ms(1)
    recorder.write_started(60)
    clock.wait_ms(4)
    recorder.write_ended()
    clock.wait_ms(5)
    recorder.committed("an-orthanc-id")


def test_each_stage_gets_its_own_time_and_they_add_up_to_the_total(recorder: Recorder, clock: Clock) -> None:
    store(recorder, clock)
    entry = protocol(recorder)
    assert sums_ms(entry) == {"transcode": 1, "prepare": 2, "write": 8, "commit": 5, "total": 16}
    assert (entry.instances, entry.bytes, entry.written_bytes, entry.unfinished, entry.failed_writes) == (
        1,
        1000,
        660,
        0,
        0,
    )
    assert [stage.share for stage in entry.stages] == pytest.approx([1 / 16, 2 / 16, 8 / 16, 5 / 16, 1])


def test_waiting_and_receiving_are_stages_only_where_they_are_known(recorder: Recorder, clock: Clock) -> None:
    recorder.received("cstore", 10, waited_ns=40 * MS, receiving_ns=0)
    recorder.transcoded()
    clock.wait_ms(1)
    recorder.committed()
    recorder.received("cstore", 10)
    recorder.transcoded()
    clock.wait_ms(1)
    recorder.committed()
    counts = {stage.stage: stage.count for stage in protocol(recorder, "cstore").stages}
    assert counts == {"wait": 1, "receive": 1, "transcode": 2, "store": 2, "total": 2}
    assert sums_ms(protocol(recorder, "cstore"))["total"] == 42


def test_without_our_storage_area_one_stage_stands_for_prepare_write_and_commit(
    recorder: Recorder, clock: Clock
) -> None:
    recorder.received("http", 10)
    clock.wait_ms(1)
    recorder.transcoded()
    clock.wait_ms(9)
    recorder.committed()
    assert sums_ms(protocol(recorder)) == {"transcode": 1, "store": 9, "total": 10}


def test_time_around_a_missing_end_of_transcoding_is_unknown(recorder: Recorder, clock: Clock) -> None:
    recorder.received("http", 10)
    clock.wait_ms(3)
    recorder.write_started(10)
    clock.wait_ms(2)
    recorder.write_ended()
    clock.wait_ms(1)
    recorder.committed()
    assert sums_ms(protocol(recorder)) == {"write": 2, "commit": 1, "unknown": 3, "total": 6}


def test_time_after_a_write_that_never_ended_is_unknown(recorder: Recorder, clock: Clock) -> None:
    recorder.received("http", 10)
    recorder.transcoded()
    clock.wait_ms(3)
    recorder.write_started(10)
    clock.wait_ms(2)
    recorder.committed()
    assert sums_ms(protocol(recorder)) == {"transcode": 0, "unknown": 5, "total": 5}


def test_an_instance_whose_arrival_was_not_seen_starts_at_its_first_write(recorder: Recorder, clock: Clock) -> None:
    recorder.write_started(600)
    clock.wait_ms(2)
    recorder.write_ended()
    clock.wait_ms(1)
    recorder.write_started(60)
    clock.wait_ms(2)
    recorder.write_ended()
    clock.wait_ms(4)
    recorder.committed()
    entry = protocol(recorder, "unknown")
    assert sums_ms(entry) == {"write": 5, "commit": 4, "total": 9}
    assert (entry.instances, entry.bytes, entry.written_bytes) == (1, 0, 660)


def test_a_commit_out_of_nowhere_counts_an_instance_and_invents_no_time(recorder: Recorder) -> None:
    recorder.committed()
    entry = protocol(recorder, "unknown")
    assert (entry.instances, entry.stages) == (1, [])


def test_a_zip_of_many_instances_is_as_many_instances_on_one_thread(recorder: Recorder, clock: Clock) -> None:
    for _ in range(100):
        store(recorder, clock)
        clock.wait_ms(1000)
    entry = protocol(recorder)
    assert entry.instances == 100
    assert sums_ms(entry)["total"] == 1600


def _callback_raised(recorder: Recorder) -> None:
    pass


def _refused(recorder: Recorder) -> None:
    recorder.transcoded("discarded")


def _write_raised_unheard(recorder: Recorder) -> None:
    recorder.transcoded()
    recorder.write_started(5)


def _duplicate(recorder: Recorder) -> None:
    recorder.transcoded()
    recorder.write_started(5)
    recorder.write_ended()


# Where the core stopped following the instance, which never came back to us.
UNFINISHED: dict[str, Callable[[Recorder], None]] = {
    "the callback raised": _callback_raised,
    "no DICOM file, or refused by a C-STORE filter": _refused,
    "a write that raised without our hearing of it": _write_raised_unheard,
    "a duplicate that is not overwritten, or a failing transaction": _duplicate,
}


@pytest.mark.parametrize("until", UNFINISHED.values(), ids=UNFINISHED.keys())
def test_an_instance_that_is_never_stored_counts_as_unfinished_and_leaves_no_trace_in_the_next(
    recorder: Recorder, clock: Clock, until: Callable[[Recorder], None]
) -> None:
    recorder.received("http", 10)
    until(recorder)
    clock.wait_ms(5000)
    store(recorder, clock)
    entry = protocol(recorder)
    assert (entry.instances, entry.unfinished) == (1, 1)
    assert sums_ms(entry) == {"transcode": 1, "prepare": 2, "write": 8, "commit": 5, "total": 16}


def test_a_failed_write_ends_its_instance_at_once(recorder: Recorder, clock: Clock) -> None:
    recorder.received("cstore", 10)
    recorder.transcoded()
    recorder.write_started(10)
    recorder.write_ended(failed=True)
    snapshot = recorder.snapshot()
    assert (snapshot.protocols[0].failed_writes, snapshot.protocols[0].unfinished, snapshot.in_flight) == (1, 1, 0)
    store(recorder, clock, "cstore")
    assert protocol(recorder, "cstore").instances == 1


def test_attachments_of_users_are_no_instances_and_no_part_of_the_next_one(recorder: Recorder, clock: Clock) -> None:
    recorder.write_started(7)
    recorder.write_ended()
    clock.wait_ms(200)
    recorder.write_started(8)
    recorder.write_ended()
    assert recorder.snapshot().in_flight == 0
    clock.wait_ms(200)
    store(recorder, clock)
    snapshot = recorder.snapshot()
    assert snapshot.stray_writes == 2
    assert [entry.protocol for entry in snapshot.protocols] == ["http"]
    assert sums_ms(snapshot.protocols[0])["total"] == 16


def test_a_failed_attachment_of_a_user_is_a_failed_write_and_nothing_more(recorder: Recorder) -> None:
    recorder.write_started(7)
    recorder.write_ended(failed=True)
    snapshot = recorder.snapshot()
    assert (snapshot.stray_writes, snapshot.in_flight) == (1, 0)
    assert (snapshot.protocols[0].protocol, snapshot.protocols[0].failed_writes, snapshot.protocols[0].unfinished) == (
        "unknown",
        1,
        0,
    )


def test_events_out_of_order_are_counted_and_change_nothing(recorder: Recorder, clock: Clock) -> None:
    recorder.transcoded()
    recorder.write_ended()
    store(recorder, clock)
    recorder.received("http", 1)
    recorder.transcoded("first")
    recorder.transcoded("second")
    recorder.write_started(1)
    recorder.write_started(1)
    recorder.transcoded("late")
    recorder.write_ended()
    recorder.committed()
    assert recorder.snapshot().out_of_order == 5
    assert protocol(recorder).instances == 2


def test_what_nobody_finishes_is_given_up_after_a_while(recorder: Recorder, clock: Clock) -> None:
    recorder.received("http", 10)
    clock.wait_ms(29_000)
    assert recorder.snapshot().in_flight == 1
    clock.wait_ms(2_000)
    snapshot = recorder.snapshot()
    assert (snapshot.in_flight, snapshot.protocols[0].unfinished) == (0, 1)


def test_threads_that_come_and_go_do_not_fill_the_memory(recorder: Recorder) -> None:
    barrier = Barrier(9)

    def receive() -> None:
        recorder.received("http", 1)
        barrier.wait()  # threads that live at the same time have different idents

    recorder._in_flight.update({-ident: _in_flight(recorder) for ident in range(1, MAX_IN_FLIGHT + 1)})
    threads = [Thread(target=receive) for _ in range(8)]
    for thread in threads:
        thread.start()
    barrier.wait()
    for thread in threads:
        thread.join()
    snapshot = recorder.snapshot()
    assert (snapshot.in_flight, snapshot.protocols[0].unfinished) == (MAX_IN_FLIGHT, 8)


def _in_flight(recorder: Recorder) -> InFlight:
    recorder.received("http", 1)
    (ident,) = [ident for ident in recorder._in_flight if ident > 0]
    return recorder._in_flight.pop(ident)


def test_another_protocol_name_does_not_become_a_label(recorder: Recorder, clock: Clock) -> None:
    store(recorder, clock, "smtp")
    assert [entry.protocol for entry in recorder.snapshot().protocols] == ["other"]


def test_threads_at_once_lose_no_instance_and_no_byte() -> None:
    recorder = Recorder()
    barrier = Barrier(9)

    def work(number: int) -> None:
        barrier.wait()
        for index in range(1000):
            recorder.received("http" if number % 2 else "cstore", 10)
            recorder.transcoded()
            recorder.write_started(7)
            recorder.write_ended(failed=index % 100 == 99)
            if index % 100 != 99:
                recorder.write_started(1)
                recorder.write_ended()
                recorder.committed()

    threads = [Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    barrier.wait()
    for _ in range(50):
        recorder.snapshot()
        recorder.slowest()
    for thread in threads:
        thread.join()
    snapshot = recorder.snapshot()
    for entry in snapshot.protocols:
        assert (entry.instances, entry.bytes, entry.written_bytes) == (3960, 39600, 31680)
        assert (entry.unfinished, entry.failed_writes) == (40, 40)
        assert {stage.count for stage in entry.stages} == {3960}
        assert sum(stage.share for stage in entry.stages) == pytest.approx(2)
    assert (snapshot.in_flight, snapshot.out_of_order, snapshot.stray_writes) == (0, 0, 0)


def test_threads_do_not_see_one_another(recorder: Recorder, clock: Clock) -> None:
    recorder.received("http", 10)
    clock.wait_ms(1)
    on_another_thread(lambda: store(recorder, clock, "cstore"))
    recorder.transcoded()
    recorder.committed()
    assert sums_ms(protocol(recorder, "http"))["total"] == 17
    assert sums_ms(protocol(recorder, "cstore"))["total"] == 16


def test_the_slowest_are_kept_with_their_own_stages_and_grow_old(recorder: Recorder, clock: Clock) -> None:
    for milliseconds in (5, 50, 1, 20, 30):
        recorder.received("http", milliseconds)
        recorder.transcoded(f"took {milliseconds}")
        clock.wait_ms(milliseconds)
        recorder.committed(f"id-{milliseconds}")
    assert [instance.orthanc_id for instance in recorder.slowest()] == ["id-50", "id-30", "id-20"]
    assert recorder.slowest()[0].stages == {"transcode": 0, "store": 50}
    clock.wait_ms(61_000)
    assert recorder.slowest() == []
    store(recorder, clock)
    assert [instance.total_ms for instance in recorder.slowest()] == [16]


def test_waiting_for_the_scu_does_not_make_an_instance_slow(recorder: Recorder, clock: Clock) -> None:
    recorder.received("cstore", 1, waited_ns=3_600_000 * MS)
    recorder.transcoded()
    clock.wait_ms(1)
    recorder.committed("idle")
    for _ in range(3):
        store(recorder, clock)
    assert "idle" not in [instance.orthanc_id for instance in recorder.slowest()]


def test_no_list_of_the_slowest_when_none_is_asked_for(clock: Clock) -> None:
    recorder = Recorder(Settings(slowest=0), clock=clock)
    store(recorder, clock)
    assert recorder.slowest() == []


def test_reset_forgets_what_was_recorded_and_goes_on_with_what_is_in_flight(recorder: Recorder, clock: Clock) -> None:
    store(recorder, clock)
    recorder.snapshot()
    recorder.received("cstore", 10)
    recorder.reset()
    assert (recorder.snapshot().protocols, recorder.slowest(), recorder.snapshot().seconds) == ([], [], 0)
    clock.wait_ms(2)
    recorder.transcoded()
    recorder.committed()
    assert sums_ms(protocol(recorder, "cstore"))["total"] == 2


@pytest.mark.parametrize("stored", [1, 15, 16, 17, 100])
def test_instances_that_are_added_up_later_are_in_every_answer(recorder: Recorder, clock: Clock, stored: int) -> None:
    def store_some() -> None:
        for number in range(stored):
            recorder.received("http", 10)
            recorder.transcoded()
            clock.wait_ms(1 + number)
            assert recorder.committed(f"id-{number}", wanted=False) is None

    store_some()
    assert recorder.slowest()[0].total_ms == stored
    recorder.reset()
    store_some()
    recorder.reset()  # what was to be added up later is forgotten too
    assert (recorder.slowest(), recorder.snapshot().protocols) == ([], [])
    store_some()
    assert protocol(recorder).instances == stored
    assert sums_ms(protocol(recorder))["total"] == stored * (stored + 1) // 2


EVENTS = st.sampled_from(
    ["received", "transcoded", "write_started", "write_ended", "failed", "committed", "later", "snapshot"]
)


@given(events=st.lists(st.tuples(EVENTS, st.integers(0, 200 * MS)), max_size=40))
def test_whatever_the_order_of_events_nothing_raises_and_stages_add_up(events: list[tuple[str, int]]) -> None:
    clock = Clock()
    recorder = Recorder(clock=clock)
    calls: dict[str, Callable[[], object]] = {
        "received": lambda: recorder.received("http", 1, receiving_ns=7),
        "transcoded": recorder.transcoded,
        "write_started": lambda: recorder.write_started(1),
        "write_ended": recorder.write_ended,
        "failed": lambda: recorder.write_ended(failed=True),
        "committed": recorder.committed,
        "later": lambda: recorder.committed(wanted=False),
        "snapshot": recorder.snapshot,
    }
    for name, passed_ns in events:
        calls[name]()
        clock.now_ns += passed_ns
    names = [name for name, _ in events]
    snapshot = recorder.snapshot()
    assert sum(entry.instances for entry in snapshot.protocols) == (names.count("committed") + names.count("later"))
    assert sum(entry.unfinished for entry in snapshot.protocols if entry.protocol == "http") <= names.count("received")
    for entry in snapshot.protocols:
        sums = {stage.stage: stage.mean_ms * stage.count for stage in entry.stages}
        assert sum(value for name, value in sums.items() if name != "total") == pytest.approx(sums.get("total", 0))


def test_an_instance_that_the_archive_had_already_is_counted_apart(recorder: Recorder, clock: Clock) -> None:
    """Orthanc removes the attachments that this thread has just written, and still calls OnStoredInstance."""
    recorder.received("http", 100)
    recorder.transcoded()
    for uuid in ("first", "second"):
        recorder.write_started(100, uuid)
        clock.wait_ms(1)
        recorder.write_ended()
    recorder.removed("first")
    recorder.removed("second")
    recorder.committed()
    (protocol,) = recorder.snapshot().protocols
    assert (protocol.instances, protocol.duplicates, protocol.unfinished, protocol.stages) == (0, 1, 0, [])


def test_an_overwritten_instance_s_old_attachments_do_not_make_it_a_duplicate(recorder: Recorder) -> None:
    recorder.received("http", 100)
    recorder.transcoded()
    recorder.write_started(100, "new")
    recorder.write_ended()
    recorder.removed("old")
    recorder.committed()
    (protocol,) = recorder.snapshot().protocols
    assert (protocol.instances, protocol.duplicates) == (1, 0)
