"""Every statement about the list of deleted studies. Each is its own transaction, as in queries.py."""

from typing import Final

# DICOM files whose header was not read yet: ids ascend. pending_id, limit
UNREAD: Final = """
SELECT pending_id, attachment_uuid FROM pending WHERE pending_id > ? AND content_type = 1 ORDER BY pending_id LIMIT ?
"""

# The newest file whose header was read, and how many are recorded.
READ_UNTIL: Final = "SELECT coalesce(max(pending_id), 0) FROM deleted_instances"
REMEMBERED: Final = "SELECT count(*) FROM deleted_instances"

# Records what was read of headers. [[pending_id, attachment_uuid, file_bytes, study, sop, patient_id, patient_name,
# date, description, modality], ...]
REMEMBER: Final = """
INSERT INTO deleted_instances SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5,
    value ->> 6, value ->> 7, value ->> 8, value ->> 9
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

# Studies of which no file waits any more. One pass over all recorded instances. limit
GONE_STUDIES: Final = """
SELECT d.study_instance_uid FROM deleted_instances AS d
LEFT JOIN pending AS p ON p.pending_id = d.pending_id LEFT JOIN held AS h ON h.pending_id = d.pending_id
WHERE d.study_instance_uid IS NOT NULL
GROUP BY d.study_instance_uid HAVING count(p.pending_id) + count(h.pending_id) = 0 LIMIT ?
"""

# The recorded instances of a study. study, limit
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
