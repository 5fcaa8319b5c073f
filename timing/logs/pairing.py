"""Pairs the lines of one Orthanc process to instances.

By thread where the log names threads, else only where it is certain to which instance a line belongs.
"""

from collections.abc import Callable

from .. import stages
from .account import ANSWER, GAP, MAX_GAP_US, NEW_INSTANCE, OTHER_CHANGE, Account, LastStored
from .events import Event, Kind
from .instance import LoggedInstance
from .threads import Threads, ThreadState


class Pairing:
    """Follows the instances of one process from line to line."""

    def __init__(self, account: Account, process: str = "") -> None:
        self._account = account
        self._process = process
        self._threads = Threads(account)
        self._last_stored = LastStored()
        self._handlers: dict[Kind, Callable[[str, ThreadState, int, Event], None]] = {
            Kind.HTTP_HEADER: self._on_header,
            Kind.HTTP_REQUEST: self._on_request,
            Kind.HTTP_POST_INSTANCE: self._on_post,
            Kind.HTTP_FILE: self._on_http_file,
            Kind.ZIP_FILE: self._on_zip_file,
            Kind.ASSOCIATION: self._on_association,
            Kind.COMMAND: self._on_command,
            Kind.STORE_REQUEST: self._on_store_request,
            Kind.STORED: self._on_stored,
            Kind.NOT_STORED: self._on_not_stored,
            Kind.DUPLICATE: self._on_duplicate,
            Kind.REFUSED_FILE: self._on_refused_file,
            Kind.COMPRESSING_ANSWER: self._on_compressing,
        }

    def forget(self) -> None:
        """Give up what is open: the process restarted, or its clock jumped."""
        self._threads.clear()
        self._last_stored.clear()

    def count_open(self) -> int:
        """Return how many instances have begun and not ended."""
        return sum(1 for _ in self._threads.open_instances())

    def see(self, thread: str, now_us: int, event: Event) -> None:
        """Take in one marker line."""
        state = self._threads.state(thread)
        if not thread:
            self._threads.give_up_stale(state, now_us)
        handler = self._handlers.get(event.kind)
        if handler is not None:
            handler(thread, state, now_us, event)
        elif len(state.open) == 1:
            if event.kind is Kind.TRANSCODING and thread:
                self._note_neighbours(state.open[0])
            if state.open[0].mark(now_us, event) and event.kind is Kind.PLUGIN_TRANSCODED:
                self._account.counts["transcoded by a plugin"] += 1
        self._see_change(state, now_us, event)
        if event.kind not in {Kind.STORED, Kind.COMMAND}:
            state.orphan_us = None
        state.before = event.kind

    def _begin(self, thread: str, state: ThreadState, instance: LoggedInstance) -> None:
        instance.process = self._process
        self._threads.begin(thread, state, instance)

    def _gap(self, protocol: str, client: str, begun_us: int, orphan_us: int | None = None) -> None:
        stored_us = self._last_stored.take(client)
        stored_us = orphan_us if stored_us is None else stored_us
        if stored_us is not None and 0 <= begun_us - stored_us <= MAX_GAP_US:
            self._account.add(protocol, GAP, begun_us - stored_us)

    def _on_association(self, thread: str, state: ThreadState, now_us: int, event: Event) -> None:
        self._account.counts["associations"] += 1
        self._last_stored.clear()

    def _on_header(self, thread: str, state: ThreadState, now_us: int, event: Event) -> None:
        self._end_answer(state, now_us)
        if state.headers_us is None:
            state.headers_us = now_us

    def _on_request(self, thread: str, state: ThreadState, now_us: int, event: Event) -> None:
        self._end_answer(state, now_us)
        state.headers_us = None
        if thread:
            self._threads.give_up_open(state)

    def _on_post(self, thread: str, state: ThreadState, now_us: int, event: Event) -> None:
        self._end_answer(state, now_us)
        begun_us = state.headers_us if state.headers_us is not None else now_us
        state.headers_us = None
        # A connection stays on its thread; without names, the only upload under way is taken for the one before.
        if not state.open:
            self._gap(stages.HTTP, f"http {thread}", begun_us)
        self._begin(thread, state, LoggedInstance(stages.HTTP, begun_us))

    def _on_http_file(self, thread: str, state: ThreadState, now_us: int, event: Event) -> None:
        # Plugins post instances too, without a request that the HTTP server would log.
        if not any(instance.protocol == stages.HTTP for instance in state.open):
            self._begin(thread, state, LoggedInstance(stages.HTTP, now_us))

    def _on_zip_file(self, thread: str, state: ThreadState, now_us: int, event: Event) -> None:
        state.open = [
            instance for instance in state.open if instance.protocol != stages.HTTP or instance.writing_us is not None
        ]
        self._begin(thread, state, LoggedInstance(stages.HTTP, now_us))

    def _on_command(self, thread: str, state: ThreadState, now_us: int, event: Event) -> None:
        state.command_us = now_us

    def _on_store_request(self, thread: str, state: ThreadState, now_us: int, event: Event) -> None:
        begun_us = state.command_us if state.command_us is not None else now_us
        state.command_us = None
        # Two associations of one client at once: which of them waited cannot be told.
        if any(instance.client == event.value for instance in self._threads.open_instances()):
            self._last_stored.take(event.value)
        else:
            self._gap(stages.CSTORE, event.value, begun_us, state.orphan_us)
        self._begin(thread, state, LoggedInstance(stages.CSTORE, begun_us, event.value))

    def _note_neighbours(self, instance: LoggedInstance) -> None:
        """Count whether transcoding begins while other threads have instances, and while one of them transcodes."""
        others = [other for other in self._threads.open_instances() if other is not instance]
        if others:
            self._account.counts["transcodings beside others"] += 1
        if any(other.is_transcoding for other in others):
            self._account.counts["transcodings at once"] += 1

    def _on_stored(self, thread: str, state: ThreadState, now_us: int, event: Event) -> None:
        if not state.open:
            self._account.counts["stored without a beginning"] += 1
            state.orphan_us = now_us
            return
        # The newest first: one that was never stored then grows stale, instead of passing its place on for ever.
        instance = state.open.pop()
        instance.orthanc_id = event.value or instance.orthanc_id
        self._account.finish(instance, now_us)
        self._last_stored.put(instance.client or f"http {thread}", now_us)

    def _on_not_stored(self, thread: str, state: ThreadState, now_us: int, event: Event) -> None:
        if state.open:
            self._threads.give_up_newest(state)

    def _on_duplicate(self, thread: str, state: ThreadState, now_us: int, event: Event) -> None:
        if state.open:
            self._account.duplicates[state.open.pop().protocol] += 1

    def _on_refused_file(self, thread: str, state: ThreadState, now_us: int, event: Event) -> None:
        if len(state.open) == 1 and state.open[0].writing_us is None:
            self._threads.give_up_newest(state)

    def _on_compressing(self, thread: str, state: ThreadState, now_us: int, event: Event) -> None:
        # Only the answer to an upload: others may be large, and worth compressing.
        if state.before is Kind.STORED and not state.open:
            state.answering_us = now_us

    def _end_answer(self, state: ThreadState, now_us: int) -> None:
        """Take the time from "Compressing a HTTP answer" to the next request.

        That is an upper bound, since no line ends the answer.
        """
        if state.answering_us is not None and not state.open and 0 <= now_us - state.answering_us <= MAX_GAP_US:
            self._account.add(stages.HTTP, ANSWER, now_us - state.answering_us)
        state.answering_us = None

    def _see_change(self, state: ThreadState, now_us: int, event: Event) -> None:
        is_change = event.kind in {Kind.NEW_INSTANCE, Kind.CHANGE}
        if state.change is not None and is_change and len(state.open) == 1:
            before, before_us = state.change
            name = NEW_INSTANCE if before is Kind.NEW_INSTANCE else OTHER_CHANGE
            self._account.add(state.open[0].protocol, name, max(0, now_us - before_us))
        state.change = (event.kind, now_us) if is_change else None
