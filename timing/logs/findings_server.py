"""What stands out inside Orthanc: storage, index, transcoding, and the log itself."""

from collections.abc import Iterator
from typing import Final

from .. import stages
from .account import NEW_INSTANCE, OTHER_CHANGE, Account
from .finding import NAMES, Finding, Look, in_ms, summary_of

SLOW_WRITE_US: Final = 10_000
SLOW_COMMIT_US: Final = 10_000
SLOW_PREPARE_US: Final = 5_000
SLOW_TRANSCODE_US: Final = 5_000
SLOW_CHANGE_US: Final = 1_000
QUICK_SHARE: Final = 0.15
MANY: Final = 20


def _slow_writes(account: Account) -> Iterator[Finding]:
    for protocol, name in NAMES.items():
        write = summary_of(account, protocol, stages.WRITE)
        if write.p50_us >= SLOW_WRITE_US:
            yield Finding(
                "slow_storage",
                "problem",
                f"Writing an instance over {name} takes {in_ms(write.p50_us)} (median), {in_ms(write.p99_us)} at the "
                "99th percentile.",
                "Each file is flushed to the disk before Orthanc goes on: put the storage area on an SSD, spare it "
                "other work while studies arrive (deletions, backups, a virus scanner), or weigh SyncStorageArea: "
                "false, which risks the last files when the power fails.",
            )


def _slow_commits(account: Account) -> Iterator[Finding]:
    for protocol, name in NAMES.items():
        commit = summary_of(account, protocol, stages.COMMIT)
        if commit.p50_us >= SLOW_COMMIT_US:
            yield Finding(
                "slow_index",
                "problem",
                f"After writing, the index takes {in_ms(commit.p50_us)} (median) for an instance over {name}.",
                "Put the index on an SSD apart from the storage area (IndexDirectory), or use PostgreSQL near by; "
                "where instances are overwritten, this includes deleting the old files.",
            )


def _slow_change(account: Account) -> Iterator[Finding]:
    for protocol, name in NAMES.items():
        change, others = summary_of(account, protocol, NEW_INSTANCE), summary_of(account, protocol, OTHER_CHANGE)
        if change.p50_us >= SLOW_CHANGE_US and change.p50_us >= 5 * others.p50_us:
            compared = f" against {others.p50_us / 1000:.2f} ms for other changes" if others.count else ""
            yield Finding(
                "slow_new_instance_change",
                "problem",
                f"The change NewInstance takes {in_ms(change.p50_us)} over {name} (median of "
                f"{change.count}){compared}.",
                "This is where Orthanc first writes the instance into its index: a faster disk for IndexDirectory, or "
                "PostgreSQL near by, is what helps.",
            )


def _undivided(account: Account) -> Iterator[Finding]:
    for protocol, name in NAMES.items():
        store = summary_of(account, protocol, stages.STORE)
        if store.p50_us >= SLOW_WRITE_US + SLOW_COMMIT_US:
            yield Finding(
                "slow_storing",
                "problem",
                f"From writing to stored takes {in_ms(store.p50_us)} (median) over {name}; this log does not tell "
                "storage from index.",
                "Log with --trace, which has a line where the index begins.",
            )


def _preparing(account: Account) -> Iterator[Finding]:
    for protocol, name in NAMES.items():
        prepare = summary_of(account, protocol, stages.PREPARE)
        if prepare.p50_us >= SLOW_PREPARE_US:
            yield Finding(
                "slow_preparing",
                "problem",
                f"Between transcoding and writing pass {in_ms(prepare.p50_us)} (median) over {name}.",
                "Orthanc parses and hashes there, which is quick, and compresses if StorageCompression is true: it "
                "gains little on images that are compressed already.",
            )


def _transcoding(account: Account) -> Iterator[Finding]:
    for protocol, name in NAMES.items():
        transcode, total = summary_of(account, protocol, stages.TRANSCODE), summary_of(account, protocol, stages.TOTAL)
        if not transcode.count:
            continue
        share = transcode.sum_ns / total.sum_ns if total.sum_ns else 0.0
        if account.counts["transcoded by a plugin"]:
            yield Finding("transcoding_by_plugin", "remark", _of_plugin(in_ms(transcode.p50_us), name, share), "")
        elif share < QUICK_SHARE:
            text = (
                f"Transcoding takes {in_ms(transcode.p50_us)} over {name} (median), {share:.0%} of the time: not "
                "where the time goes."
            )
            yield Finding("quick_transcoding", "remark", text, "")
        elif transcode.p50_us >= SLOW_TRANSCODE_US:
            text = f"Transcoding takes {in_ms(transcode.p50_us)} over {name} (median), {share:.0%} of the time."
            advice = (
                "Choose a quicker transfer syntax, such as HTJ2K or JPEG-LS; the IngestTranscoder section of "
                "this bundle offers both."
            )
            yield Finding("slow_transcoding", "problem", text, advice)


def _serialised_transcoding(account: Account) -> Iterator[Finding]:
    beside, at_once = account.counts["transcodings beside others"], account.counts["transcodings at once"]
    if beside >= MANY and at_once <= beside * 0.02:
        yield Finding(
            "serialised_transcoding",
            "problem",
            f"{beside} instances were transcoded while other threads had instances too, and hardly ever two at once "
            f"({at_once} times): transcoding runs one instance at a time.",
            "More clients or threads do not help there: choose a quicker transfer syntax, such as HTJ2K, or have "
            "senders compress.",
        )


def _unseen(account: Account) -> Iterator[Finding]:
    for protocol, name in NAMES.items():
        unknown, total = summary_of(account, protocol, stages.UNKNOWN), summary_of(account, protocol, stages.TOTAL)
        if unknown.sum_ns > total.sum_ns / 2:
            yield Finding(
                "unseen",
                "remark",
                f"Most of the time over {name} ({unknown.sum_ns / total.sum_ns:.0%}) is divided by no line of the "
                "log: a plugin owns the storage area, and Orthanc's own lines about files are missing.",
                "Ask the plugin; with this bundle, GET /timing/stages divides that time.",
            )


def _of_plugin(duration: str, name: str, share: float) -> str:
    return (
        f"A plugin transcodes: from its line to writing takes {duration} over {name} (median), {share:.0%} of the "
        "time. But that line, service 38 (CreateMemoryBuffer), is logged when the plugin asks for room for its "
        "result: the encoding itself may lie before it, in 'receive'."
    )


def _overlapped(account: Account) -> Iterator[Finding]:
    overlapped, instances = sum(account.overlapped.values()), sum(account.instances.values())
    if overlapped:
        yield Finding(
            "overlapped",
            "remark",
            f"{overlapped} of {instances} instances were stored at the same time as another, and this log names no "
            "threads: which line belongs to which cannot be told, so their stages are left out.",
            "Log from Orthanc 1.12.2 or later, or while one client sends alone.",
        )


LOOKS: Final[tuple[Look, ...]] = (
    _slow_writes,
    _slow_commits,
    _undivided,
    _slow_change,
    _preparing,
    _transcoding,
    _serialised_transcoding,
    _unseen,
    _overlapped,
)
