"""Every statement of the ledger, named and described. The hot ones have a query-plan test."""

from typing import Final

# Facts of the journal: the ledger's identity, and the sequence number before which all records are in the ledger.
JOURNAL_IDENTITY: Final = "journal_identity"
JOURNAL_POSITION: Final = "journal_position"

# Records deletions. A second request for the same attachment changes nothing. Only the attachment may conflict: a clash
# of pending_id must be an error, since DO NOTHING would then forget a deletion.
# [[pending_id, attachment_uuid, content_type, enqueued_at, next_attempt_at], ...]
ENQUEUE: Final = """
INSERT INTO pending (pending_id, attachment_uuid, content_type, enqueued_at, next_attempt_at)
SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4 FROM json_each(?) WHERE true
ON CONFLICT (attachment_uuid) DO NOTHING
"""

# The pending_id of the newest row, with those that a restore holds and those that only the list of deleted instances
# remembers: the next one continues from there, so that an id never means two files.
NEWEST_PENDING_ID: Final = """
SELECT max(
    coalesce((SELECT max(pending_id) FROM pending), 0),
    coalesce((SELECT max(pending_id) FROM held), 0),
    coalesce((SELECT max(pending_id) FROM deleted_instances), 0)
)
"""

# When the newest row was enqueued: the ledger's clock never starts before it.
NEWEST_ENQUEUED_AT: Final = "SELECT enqueued_at FROM pending ORDER BY pending_id DESC LIMIT 1"

# Takes the rows that are due, the longest waiting first, in one statement: between "which" and "mine" nobody can step.
# The outer state is asked once more, so that a row is never claimed twice. RETURNING promises no order.
CLAIM: Final = """
UPDATE pending SET state = 'claimed'
WHERE state <> 'claimed' AND pending_id IN (
    SELECT pending_id FROM pending WHERE state <> 'claimed' AND next_attempt_at <= ? ORDER BY next_attempt_at LIMIT ?
)
RETURNING pending_id, attachment_uuid, content_type, attempts, next_attempt_at
"""

# The ends of a claim take their rows as one JSON array, and change all of them or, if one is not claimed, none: the
# second condition is looked at once and is the check of the row count, in the statement itself.

# The files are gone: so may the rows be. [pending_id, ...]
COMPLETE: Final = """
DELETE FROM pending WHERE state = 'claimed' AND pending_id IN (SELECT value FROM json_each(?1))
AND json_array_length(?1) = (
    SELECT count(*) FROM pending WHERE state = 'claimed' AND pending_id IN (SELECT value FROM json_each(?1))
)
"""

# The unlink failed: wait, then try again. [[pending_id, error, next_attempt_at], ...]
FAIL: Final = """
UPDATE pending
SET state = 'failed', attempts = attempts + 1, last_error = failure.value ->> 1, next_attempt_at = failure.value ->> 2
FROM json_each(?1) AS failure
WHERE pending_id = failure.value ->> 0 AND state = 'claimed'
AND json_array_length(?1) = (
    SELECT count(*) FROM pending WHERE state = 'claimed' AND pending_id IN (SELECT value ->> 0 FROM json_each(?1))
)
"""

# Given back untried; a row that had failed before is a failed row again. [pending_id, ...]
RELEASE: Final = """
UPDATE pending SET state = CASE attempts WHEN 0 THEN 'pending' ELSE 'failed' END
WHERE state = 'claimed' AND pending_id IN (SELECT value FROM json_each(?1))
AND json_array_length(?1) = (
    SELECT count(*) FROM pending WHERE state = 'claimed' AND pending_id IN (SELECT value FROM json_each(?1))
)
"""

# What a crash left claimed goes back to where it was.
RECOVER: Final = (
    "UPDATE pending SET state = CASE attempts WHEN 0 THEN 'pending' ELSE 'failed' END WHERE state = 'claimed'"
)

# Makes rows due at once, a slice at a time.
HASTEN: Final = """
UPDATE pending SET next_attempt_at = ?1
WHERE state <> 'claimed' AND pending_id IN (
    SELECT pending_id FROM pending WHERE state <> 'claimed' AND next_attempt_at > ?1 LIMIT ?2
)
"""

# Of what an operator ordered (ids up to ?2), a slice that is not due yet, the next due first.
ORDERED_NOT_DUE: Final = """
SELECT pending_id FROM pending
WHERE state <> 'claimed' AND state = 'pending' AND next_attempt_at > ?1 AND pending_id <= ?2
ORDER BY next_attempt_at LIMIT ?3
"""

# Whether anything of it still waits for its first attempt.
ORDERED_LEFT: Final = "SELECT 1 FROM pending WHERE pending_id <= ? AND state IN ('pending', 'claimed') LIMIT 1"

# Makes these rows due, if they still wait for their first attempt. [pending_id, ...]
MAKE_DUE: Final = """
UPDATE pending SET next_attempt_at = ?1
WHERE state = 'pending' AND pending_id IN (SELECT value FROM json_each(?2))
"""

# Makes failed rows due at once, a slice at a time.
RETRY_FAILED: Final = """
UPDATE pending SET next_attempt_at = ?1
WHERE state = 'failed' AND pending_id IN (
    SELECT pending_id FROM pending WHERE state = 'failed' AND next_attempt_at > ?1 LIMIT ?2
)
"""

# Forgets requests without touching the files, because the attachments turned out to be alive. [attachment_uuid, ...]
WITHDRAW: Final = """
DELETE FROM pending WHERE state <> 'claimed' AND attachment_uuid IN (SELECT value FROM json_each(?))
"""

# When the next attempt is due: how long the worker may sleep.
NEXT_DUE: Final = "SELECT next_attempt_at FROM pending WHERE state <> 'claimed' ORDER BY next_attempt_at LIMIT 1"

# The oldest request: ids ascend with time, so it is the first row.
OLDEST: Final = "SELECT enqueued_at FROM pending ORDER BY pending_id LIMIT 1"

# Rows by state, kept by triggers.
COUNTS: Final = "SELECT pending, claimed, failed FROM counts"

# The same, and how far the journal has been moved, at one moment: what is moved meanwhile is counted once.
COUNTS_AND_POSITION: Final = f"""
SELECT pending, claimed, failed, (SELECT value FROM facts WHERE name = '{JOURNAL_POSITION}') FROM counts
"""  # noqa: S608  constants only

# The newest rows, backwards from an id: what was recorded just before the machine went down.
NEWEST_FIRST: Final = """
SELECT pending_id, attachment_uuid, enqueued_at FROM pending WHERE pending_id < ? ORDER BY pending_id DESC LIMIT ?
"""

# Pages of the rows, in order.
LIST: Final = """
SELECT pending_id, attachment_uuid, content_type, enqueued_at, state, attempts, next_attempt_at, last_error
FROM pending WHERE pending_id > ? ORDER BY pending_id LIMIT ?
"""

# Pages of the rows that failed, in order.
LIST_FAILED: Final = """
SELECT pending_id, attachment_uuid, content_type, enqueued_at, state, attempts, next_attempt_at, last_error
FROM pending WHERE state = 'failed' AND pending_id > ? ORDER BY pending_id LIMIT ?
"""

PUT_FACT: Final = "INSERT INTO facts VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value"
READ_FACT: Final = "SELECT value FROM facts WHERE name = ?"
FACTS: Final = "SELECT name, value FROM facts"

# {name: value, ...}
WRITE_FACTS: Final = "UPDATE facts SET value = new.value FROM json_each(?) AS new WHERE name = new.key"
