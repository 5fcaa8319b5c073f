"""Every statement about deleted studies and their restore. Each is its own transaction, as in queries.py."""

from typing import Final

# DICOM files whose header was not read yet: ids ascend. pending_id, limit
UNREAD: Final = """
SELECT pending_id, attachment_uuid FROM pending WHERE pending_id > ? AND content_type = 1 ORDER BY pending_id LIMIT ?
"""

# The last one that was read, and how many are remembered.
READ_UNTIL: Final = "SELECT coalesce(max(pending_id), 0) FROM deleted_instances"
REMEMBERED: Final = "SELECT count(*) FROM deleted_instances"

# What headers said. [[pending_id, attachment_uuid, file_bytes, study, sop, patient_id, patient_name, date, description, modality], ...]
REMEMBER: Final = """
INSERT INTO deleted_instances SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6,
    value ->> 7, value ->> 8, value ->> 9
FROM json_each(?) WHERE true ON CONFLICT (pending_id) DO NOTHING
"""

# Studies of which something waits, those deleted last first; versions of one instance count once. limit
DELETED_STUDIES: Final = """
SELECT d.study_instance_uid, max(d.patient_id), max(d.patient_name), max(d.study_date), max(d.study_description),
    group_concat(DISTINCT d.modality), count(DISTINCT CASE WHEN p.pending_id IS NOT NULL THEN d.sop_instance_uid END),
    count(DISTINCT d.sop_instance_uid),
    sum(CASE WHEN p.pending_id IS NOT NULL THEN d.file_bytes ELSE 0 END), max(p.enqueued_at), min(p.next_attempt_at)
FROM deleted_instances AS d LEFT JOIN pending AS p ON p.pending_id = d.pending_id AND p.state <> 'claimed'
WHERE d.study_instance_uid IS NOT NULL
GROUP BY d.study_instance_uid HAVING count(p.pending_id) > 0 ORDER BY max(p.enqueued_at) DESC LIMIT ?
"""

# Studies of which nothing waits any more. One pass over what is remembered. limit
GONE_STUDIES: Final = """
SELECT d.study_instance_uid FROM deleted_instances AS d
LEFT JOIN pending AS p ON p.pending_id = d.pending_id LEFT JOIN held AS h ON h.pending_id = d.pending_id
WHERE d.study_instance_uid IS NOT NULL
GROUP BY d.study_instance_uid HAVING count(p.pending_id) + count(h.pending_id) = 0 LIMIT ?
"""

# What is remembered of a study. study, limit
OF_STUDY: Final = """
SELECT pending_id FROM deleted_instances WHERE study_instance_uid = ?1
AND pending_id < (SELECT max(pending_id) FROM deleted_instances) LIMIT ?2
"""

# Files of no study, or not offered again, that are gone. limit
NAMELESS_GONE: Final = """
SELECT d.pending_id FROM deleted_instances AS d WHERE d.study_instance_uid IS NULL
AND NOT EXISTS (SELECT 1 FROM pending AS p WHERE p.pending_id = d.pending_id)
AND NOT EXISTS (SELECT 1 FROM held AS h WHERE h.pending_id = d.pending_id)
AND d.pending_id < (SELECT max(pending_id) FROM deleted_instances) LIMIT ?
"""

# Forgets them. [pending_id, ...]; the newest id stays, as the mark up to which was read.
FORGET: Final = """
DELETE FROM deleted_instances WHERE pending_id IN (SELECT value FROM json_each(?))
AND pending_id < (SELECT max(pending_id) FROM deleted_instances)
"""

# Asks for a restore. study, ms. A second request while one is under way changes nothing.
REQUEST: Final = """
INSERT INTO restores (study_instance_uid, requested_at) VALUES (?, ?)
ON CONFLICT (study_instance_uid) WHERE state IN ('gathering', 'importing') DO NOTHING
"""

_COLUMNS: Final = """
restore_id, study_instance_uid, state, requested_at, ended_at, instances_gone, outcomes, last_error
"""
LIST: Final = f"SELECT {_COLUMNS} FROM restores ORDER BY restore_id DESC LIMIT ?"  # noqa: S608  constants only
OPEN: Final = f"SELECT {_COLUMNS} FROM restores WHERE state IN ('gathering', 'importing') ORDER BY restore_id"  # noqa: S608  constants only

# Takes files of a study out of the worker's sight, a slice at a time; a claimed one is the worker's. restore_id, study, limit
HOLD: Final = """
INSERT INTO held (pending_id, attachment_uuid, content_type, enqueued_at, attempts, next_attempt_at, restore_id, sop_instance_uid)
SELECT p.pending_id, p.attachment_uuid, p.content_type, p.enqueued_at, p.attempts, p.next_attempt_at, ?1, d.sop_instance_uid
FROM deleted_instances AS d JOIN pending AS p ON p.pending_id = d.pending_id AND p.attachment_uuid = d.attachment_uuid
WHERE d.study_instance_uid = ?2 AND p.state <> 'claimed' LIMIT ?3
"""

# What an earlier restore of the study could not prove is tried again. restore_id, study
ADOPT: Final = """
UPDATE held SET restore_id = ?1, outcome = NULL, detail = NULL WHERE restore_id IN (
    SELECT restore_id FROM restores WHERE study_instance_uid = ?2 AND state = 'incomplete')
"""

# All that can be held is: older versions of an instance stay behind the newest. restore_id
SUPERSEDE: Final = """
UPDATE held SET outcome = 'superseded' WHERE restore_id = ?1 AND EXISTS (
    SELECT 1 FROM held AS newer WHERE newer.restore_id = ?1 AND newer.sop_instance_uid = held.sop_instance_uid
    AND newer.pending_id > held.pending_id)
"""

# restore_id
IMPORT: Final = """
UPDATE restores SET state = 'importing', last_error = NULL, instances_gone = (
    SELECT count(DISTINCT d.sop_instance_uid) FROM deleted_instances AS d WHERE d.study_instance_uid = restores.study_instance_uid
    AND NOT EXISTS (SELECT 1 FROM held AS h WHERE h.restore_id = ?1 AND h.sop_instance_uid = d.sop_instance_uid))
WHERE restore_id = ?1 AND state = 'gathering'
"""

# The next ones to bring back. restore_id, limit
TO_IMPORT: Final = """
SELECT pending_id, attachment_uuid, sop_instance_uid FROM held WHERE restore_id = ? AND outcome IS NULL ORDER BY pending_id LIMIT ?
"""

# What became of one. pending_id, outcome, detail
OUTCOME: Final = "UPDATE held SET outcome = ?2, detail = ?3 WHERE pending_id = ?1 AND outcome IS NULL"

# How far a restore is. restore_id
OUTCOMES: Final = "SELECT coalesce(outcome, ''), count(*) FROM held WHERE restore_id = ? GROUP BY outcome"
DETAILS: Final = """
SELECT sop_instance_uid, outcome, detail FROM held WHERE restore_id = ? AND detail IS NOT NULL ORDER BY pending_id LIMIT ?
"""

# Trouble with Orthanc itself. restore_id, error
TROUBLE: Final = "UPDATE restores SET last_error = ?2 WHERE restore_id = ?1 AND last_error IS NOT ?2"

# The end. restore_id, state, {outcome: n}, ms, error
END: Final = """
UPDATE restores SET state = ?2, outcomes = ?3, ended_at = ?4, last_error = ?5
WHERE restore_id = ?1 AND state IN ('gathering', 'importing')
"""

# Lets files go of instances of which all versions that count are proven, a slice at a time. The rest stays held.
# [proven outcome, ...], limit
GIVE_BACK: Final = """
DELETE FROM held WHERE pending_id IN (
    SELECT h.pending_id FROM held AS h JOIN restores AS r ON r.restore_id = h.restore_id
    WHERE r.state IN ('done', 'incomplete') AND h.outcome IN (SELECT value FROM json_each(?1)) AND NOT EXISTS (
        SELECT 1 FROM held AS other WHERE other.restore_id = h.restore_id AND other.sop_instance_uid = h.sop_instance_uid
        AND other.outcome NOT IN (SELECT value FROM json_each(?1)))
    LIMIT ?2)
"""

# What a restore is about to give back is not offered again. study, restore_id, [proven outcome, ...]
NOT_OFFERED_AGAIN: Final = """
UPDATE deleted_instances SET study_instance_uid = NULL WHERE study_instance_uid = ?1 AND pending_id IN (
    SELECT pending_id FROM held WHERE restore_id = ?2 AND outcome IN (SELECT value FROM json_each(?3)))
"""

# An operator gives up what could not be proven: the files may go. study, limit
RELEASE: Final = """
DELETE FROM held WHERE pending_id IN (
    SELECT h.pending_id FROM held AS h JOIN restores AS r ON r.restore_id = h.restore_id
    WHERE r.study_instance_uid = ?1 AND r.state = 'incomplete' LIMIT ?2)
"""

# Whether a deletion of an attachment waits, held or not.
KNOWS: Final = """
SELECT EXISTS (SELECT 1 FROM pending WHERE attachment_uuid = ?1) OR EXISTS (SELECT 1 FROM held WHERE attachment_uuid = ?1)
"""

# Files that restores hold.
HELD: Final = "SELECT count(*) FROM held"
HELD_UUIDS: Final = "SELECT attachment_uuid FROM held"

# Gives back what turned out to be alive, so that it can be withdrawn. [attachment_uuid, ...]
GIVE_BACK_ATTACHMENTS: Final = "DELETE FROM held WHERE attachment_uuid IN (SELECT value FROM json_each(?))"

# Restores that ended before a time and hold nothing. ms
FORGET_RESTORES: Final = """
DELETE FROM restores WHERE state IN ('done', 'incomplete') AND ended_at < ?
AND NOT EXISTS (SELECT 1 FROM held WHERE held.restore_id = restores.restore_id)
"""
