"""Every statement about restores of deleted studies. Each is its own transaction, as in queries.py."""

from typing import Final

from .study_states import RestoreState, before, listed, under_way

_OPEN_STATES: Final = listed(under_way(RestoreState))
# Whether a restore is still there to hold files for.
_GATHERING: Final = f"EXISTS (SELECT 1 FROM restores WHERE restore_id = ?1 AND state = '{RestoreState.GATHERING}')"  # noqa: S608  constants only

# Asks for a restore. study, ms. A second request while one is under way changes nothing.
REQUEST: Final = f"""
INSERT INTO restores (study_instance_uid, requested_at) VALUES (?, ?)
ON CONFLICT (study_instance_uid) WHERE state IN {_OPEN_STATES} DO NOTHING
"""  # noqa: S608  constants only

_COLUMNS: Final = """
restore_id, study_instance_uid, state, requested_at, ended_at, instances_gone, outcomes, attempts, next_attempt_at,
last_error
"""
LIST: Final = f"SELECT {_COLUMNS} FROM restores ORDER BY restore_id DESC LIMIT ?"  # noqa: S608  constants only
OPEN: Final = f"SELECT {_COLUMNS} FROM restores WHERE state IN {_OPEN_STATES} ORDER BY restore_id"  # noqa: S608  constants only

# Moves files of a study to where the worker does not look, some at a time. Claimed files stay with the worker.
# restore_id, study, limit
HOLD: Final = f"""
INSERT INTO held (
    pending_id, attachment_uuid, content_type, enqueued_at, attempts, next_attempt_at, restore_id, sop_instance_uid)
SELECT p.pending_id, p.attachment_uuid, p.content_type, p.enqueued_at, p.attempts, p.next_attempt_at, ?1,
    d.sop_instance_uid
FROM deleted_instances AS d JOIN pending AS p ON p.pending_id = d.pending_id AND p.attachment_uuid = d.attachment_uuid
WHERE d.study_instance_uid = ?2 AND p.state <> 'claimed' AND {_GATHERING} LIMIT ?3
"""  # noqa: S608  constants only

# What an earlier restore of the study could not prove is tried again (what failed stays behind the others), and what a
# cancelled one has not given back yet. restore_id, study
ADOPT: Final = f"""
UPDATE held SET restore_id = ?1, outcome = NULL, detail = NULL, instance_id = NULL WHERE restore_id IN (
    SELECT restore_id FROM restores WHERE study_instance_uid = ?2
    AND state IN {listed([RestoreState.INCOMPLETE, RestoreState.CANCELLED])})
AND {_GATHERING}
"""  # noqa: S608  constants only

# Run when all files are held: older versions of an instance stay behind the newest. restore_id
SUPERSEDE: Final = """
UPDATE held SET outcome = 'superseded' WHERE restore_id = ?1 AND EXISTS (
    SELECT 1 FROM held AS newer WHERE newer.restore_id = ?1 AND newer.sop_instance_uid = held.sop_instance_uid
    AND newer.pending_id > held.pending_id)
"""

# Begins to import, unless the worker has claimed a file of the study, which it may still give back. restore_id
IMPORT: Final = f"""
UPDATE restores SET state = '{RestoreState.IMPORTING}', last_error = NULL, instances_gone = (
    SELECT count(DISTINCT d.sop_instance_uid) FROM deleted_instances AS d
    WHERE d.study_instance_uid = restores.study_instance_uid
    AND NOT EXISTS (SELECT 1 FROM held AS h WHERE h.restore_id = ?1 AND h.sop_instance_uid = d.sop_instance_uid))
WHERE restore_id = ?1 AND state IN {listed(before(RestoreState.IMPORTING))} AND NOT EXISTS (
    SELECT 1 FROM deleted_instances AS d JOIN pending AS p ON p.pending_id = d.pending_id
    WHERE d.study_instance_uid = restores.study_instance_uid AND p.state = 'claimed')
"""  # noqa: S608  constants only

# The next files to restore, those that failed least first. restore_id, limit
TO_IMPORT: Final = """
SELECT pending_id, attachment_uuid, sop_instance_uid FROM held WHERE restore_id = ? AND outcome IS NULL
ORDER BY tries, pending_id LIMIT ?
"""

# Records what became of a file. pending_id, restore_id, outcome, detail, instance_id
OUTCOME: Final = """
UPDATE held SET outcome = ?3, detail = ?4, instance_id = ?5
WHERE pending_id = ?1 AND restore_id = ?2 AND outcome IS NULL
"""

# Orthanc answered with an error: the file goes behind the others. pending_id, error
SET_BACK: Final = "UPDATE held SET tries = tries + 1, detail = ?2 WHERE pending_id = ?1 AND outcome IS NULL"

# How many files a restore holds, by outcome; and the reasons of those that are not back. restore_id
OUTCOMES: Final = "SELECT coalesce(outcome, ''), count(*) FROM held WHERE restore_id = ? GROUP BY outcome"
DETAILS: Final = """
SELECT sop_instance_uid, coalesce(outcome, ''), detail FROM held WHERE restore_id = ? AND detail IS NOT NULL
ORDER BY pending_id LIMIT ?
"""

# Whether a restore is still importing. restore_id
IMPORTING: Final = f"SELECT 1 FROM restores WHERE restore_id = ? AND state = '{RestoreState.IMPORTING}'"  # noqa: S608  constants only

# Records an error of Orthanc and when to try again. restore_id, error, ms
TROUBLE: Final = f"""
UPDATE restores SET attempts = attempts + 1, last_error = ?2, next_attempt_at = ?3
WHERE restore_id = ?1 AND state = '{RestoreState.IMPORTING}'
"""  # noqa: S608  constants only

# Orthanc works again: clears the error. restore_id
NO_TROUBLE: Final = f"""
UPDATE restores SET attempts = 0, last_error = NULL, next_attempt_at = 0
WHERE restore_id = ? AND attempts > 0 AND state = '{RestoreState.IMPORTING}'
"""  # noqa: S608  constants only

# Ends a restore. restore_id, state, {outcome: n}, ms, error, [state before, ...]
END: Final = """
UPDATE restores SET state = ?2, outcomes = ?3, ended_at = ?4, last_error = ?5
WHERE restore_id = ?1 AND state IN (SELECT value FROM json_each(?6))
"""

# Cancels a restore that is under way. study, ms
CANCEL: Final = f"""
UPDATE restores SET state = '{RestoreState.CANCELLED}', ended_at = ?2, last_error = NULL, outcomes = (
    SELECT json_group_object(name, files) FROM (
        SELECT coalesce(outcome, '') AS name, count(*) AS files FROM held
        WHERE held.restore_id = restores.restore_id GROUP BY outcome))
WHERE study_instance_uid = ?1 AND state IN {listed(before(RestoreState.CANCELLED))}
RETURNING restore_id
"""  # noqa: S608  constants only

# Gives files back to the worker if all versions of their instance are proven, some at a time. The rest stays held.
# [proven outcome, ...], limit
GIVE_BACK: Final = f"""
DELETE FROM held WHERE pending_id IN (
    SELECT h.pending_id FROM held AS h JOIN restores AS r ON r.restore_id = h.restore_id
    WHERE r.state IN {listed([RestoreState.DONE, RestoreState.INCOMPLETE])}
    AND h.outcome IN (SELECT value FROM json_each(?1)) AND NOT EXISTS (
        SELECT 1 FROM held AS other
        WHERE other.restore_id = h.restore_id AND other.sop_instance_uid = h.sop_instance_uid
        AND (other.outcome IS NULL OR other.outcome NOT IN (SELECT value FROM json_each(?1))))
    LIMIT ?2)
"""  # noqa: S608  constants only

# Gives back everything that a cancelled restore held. limit
GIVE_BACK_CANCELLED: Final = f"""
DELETE FROM held WHERE pending_id IN (
    SELECT h.pending_id FROM restores AS r JOIN held AS h ON h.restore_id = r.restore_id
    WHERE r.state = '{RestoreState.CANCELLED}' LIMIT ?)
"""  # noqa: S608  constants only

# What a restore is about to give back is not offered again. study, restore_id, [proven outcome, ...]
NOT_OFFERED_AGAIN: Final = """
UPDATE deleted_instances SET study_instance_uid = NULL WHERE study_instance_uid = ?1 AND pending_id IN (
    SELECT pending_id FROM held WHERE restore_id = ?2 AND outcome IN (SELECT value FROM json_each(?3)))
"""

# An operator gives up what could not be proven: gives those files back to the worker. study, limit
RELEASE: Final = f"""
DELETE FROM held WHERE pending_id IN (
    SELECT h.pending_id FROM held AS h JOIN restores AS r ON r.restore_id = h.restore_id
    WHERE r.study_instance_uid = ?1 AND r.state = '{RestoreState.INCOMPLETE}' LIMIT ?2)
"""  # noqa: S608  constants only

# Whether a deletion of an attachment waits, held or not.
KNOWS: Final = """
SELECT EXISTS (SELECT 1 FROM pending WHERE attachment_uuid = ?1)
OR EXISTS (SELECT 1 FROM held WHERE attachment_uuid = ?1)
"""

# Files that restores hold.
HELD: Final = "SELECT count(*) FROM held"
HELD_UUIDS: Final = "SELECT attachment_uuid FROM held"

# Gives back what turned out to be alive, so that it can be withdrawn. [attachment_uuid, ...]
GIVE_BACK_ATTACHMENTS: Final = "DELETE FROM held WHERE attachment_uuid IN (SELECT value FROM json_each(?))"

# Restores that ended before a time and hold nothing. ms
FORGET_RESTORES: Final = f"""
DELETE FROM restores WHERE state NOT IN {_OPEN_STATES} AND ended_at < ?
AND NOT EXISTS (SELECT 1 FROM held WHERE held.restore_id = restores.restore_id)
"""  # noqa: S608  constants only
