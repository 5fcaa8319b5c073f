"""What stands out between Orthanc and its clients."""

from collections.abc import Iterator
from typing import Final

from .. import stages
from .account import ANSWER, GAP, Account
from .finding import NAMES, Finding, Look, in_ms, summary_of

# Linux delays an acknowledgement by 40 ms (TCP_DELACK_MIN); a stalled step takes that, and what it takes anyway.
STALL_LOW_US: Final = 36_000
STALL_HIGH_US: Final = 50_000
STALL_FRACTION: Final = 0.1

SLOW_GAP_US: Final = 5_000
SLOW_RECEIVE_US: Final = 5_000
SLOW_ANSWER_US: Final = 3_000
LONG_GAP_US: Final = 1_000_000
LONG_GAPS: Final = 3
LONG_GAPS_SHARE: Final = 0.2
ASSOCIATION_SHARE: Final = 0.5
MANY: Final = 20

_QUICK: Final = (
    "Let Orthanc answer at once: set TCP_NODELAY=1 in Orthanc's environment (DCMTK reads it for each association) and "
    "have TCP_QUICKACK set on the association's sockets; the DicomAssociations section of this bundle does both. "
    "Where the sender is yours, set TCP_NODELAY=1 there too; on the sender alone it is not enough."
)


def _stalled_receiving(account: Account) -> Iterator[Finding]:
    """Find data sets whose end came 40 ms late: compared with HTTP if it was used, else with the quickest C-STORE."""
    over_http = summary_of(account, stages.HTTP, stages.RECEIVE)
    over_cstore = summary_of(account, stages.CSTORE, stages.RECEIVE)
    if not over_cstore.count:
        return
    usual_us = over_http.p50_us if over_http.count else account.least(stages.CSTORE, stages.RECEIVE)
    low_us, high_us = usual_us + STALL_LOW_US, usual_us + STALL_HIGH_US
    fraction = account.fraction_between(stages.CSTORE, stages.RECEIVE, low_us, high_us)
    if fraction >= STALL_FRACTION:
        yield Finding(
            "stalled_receiving",
            "problem",
            f"{fraction:.0%} of the data sets over C-STORE (of {over_cstore.count}) took about 40 ms more than usual "
            f"({in_ms(usual_us)}) to receive. That is the mark of a last packet that waits, by Nagle's algorithm, for "
            "an acknowledgement the receiver delays.",
            _QUICK,
        )


def _stalled_gaps(account: Account) -> Iterator[Finding]:
    fraction = account.fraction_between(stages.CSTORE, GAP, STALL_LOW_US, STALL_HIGH_US)
    if fraction >= STALL_FRACTION:
        yield Finding(
            "stalled_answer",
            "problem",
            f"{fraction:.0%} of the gaps between two instances of one client last about 40 ms. That is the mark of an "
            "answer of Orthanc's that waits, by Nagle's algorithm, for an acknowledgement the sender delays.",
            _QUICK,
        )


def _gaps(account: Account) -> Iterator[Finding]:
    gap = summary_of(account, stages.CSTORE, GAP)
    if gap.p50_us >= SLOW_GAP_US:
        total = summary_of(account, stages.CSTORE, stages.TOTAL)
        compared = f", where Orthanc works {in_ms(total.p50_us)} on one" if total.count else ""
        yield Finding(
            "gap_between_instances",
            "problem",
            f"Between two instances of one C-STORE client {in_ms(gap.p50_us)} pass (median of {gap.count}){compared}.",
            "In that time the answer travels and the client reads and sends the next command. Look for the 40 ms "
            "stall first; then send over several associations at once.",
        )


def _receiving_compared(account: Account) -> Iterator[Finding]:
    over_http = summary_of(account, stages.HTTP, stages.RECEIVE)
    over_cstore = summary_of(account, stages.CSTORE, stages.RECEIVE)
    if not over_http.count or not over_cstore.count:
        return
    if over_cstore.p50_us >= max(2 * over_http.p50_us, over_http.p50_us + SLOW_RECEIVE_US):
        yield Finding(
            "receiving_cstore_against_http",
            "problem",
            f"Receiving takes {in_ms(over_cstore.p50_us)} over C-STORE against {in_ms(over_http.p50_us)} over HTTP "
            "(medians, from the request to transcoding or writing).",
            _QUICK,
        )


def _slow_answers(account: Account) -> Iterator[Finding]:
    answer = summary_of(account, stages.HTTP, ANSWER)
    if answer.p50_us >= SLOW_ANSWER_US:
        yield Finding(
            "compressed_answer",
            "problem",
            f"Compressing the answer to an upload, which is a few hundred bytes, takes up to {in_ms(answer.p50_us)} "
            f"(median of {answer.count}, to the client's next request).",
            "Set HttpCompressionEnabled: false; where large answers cross slow lines, let a reverse proxy compress "
            "them.",
        )


def _long_gaps(account: Account) -> Iterator[Finding]:
    for protocol, name in NAMES.items():
        gaps = account.durations.get((protocol, GAP))
        long = {gap_us: count for gap_us, count in gaps.counts.items() if gap_us >= LONG_GAP_US} if gaps else {}
        idle_us = sum(gap_us * count for gap_us, count in long.items())
        whole_us = (gaps.sum_ns if gaps else 0) / 1e3 + summary_of(account, protocol, stages.TOTAL).sum_ns / 1e3
        if sum(long.values()) >= LONG_GAPS and idle_us >= LONG_GAPS_SHARE * whole_us:
            yield Finding(
                "long_gaps",
                "problem",
                f"{sum(long.values())} gaps over {name} lasted longer than {in_ms(LONG_GAP_US)}, {idle_us / 1e6:.1f} "
                f"s together: {idle_us / whole_us:.0%} of the time.",
                "Orthanc waits for its client there. Look at the sender: its disk, its queue, its own log, and "
                "whether it looks up names (DNS) or opens an association for each instance.",
            )


def _association_per_instance(account: Account) -> Iterator[Finding]:
    associations, instances = account.counts["associations"], account.instances[stages.CSTORE]
    if instances >= MANY and associations >= instances * ASSOCIATION_SHARE:
        yield Finding(
            "association_per_instance",
            "problem",
            f"{associations} associations were opened for {instances} instances over C-STORE.",
            "Each costs several round trips and a negotiation: have the sender keep one association for a whole study.",
        )


LOOKS: Final[tuple[Look, ...]] = (
    _stalled_receiving,
    _stalled_gaps,
    _gaps,
    _receiving_compared,
    _slow_answers,
    _long_gaps,
    _association_per_instance,
)
