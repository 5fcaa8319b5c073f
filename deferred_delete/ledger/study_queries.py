"""Every statement about background deletions. Each is its own transaction, as in queries.py."""

from typing import Final

from .study_states import DeletionState, RestoreState, before, listed, under_way

_OPEN_STATES: Final = listed(under_way(DeletionState))

# Queues what is not queued yet. [orthanc_id, ...], ms
REQUEST: Final = f"""
INSERT INTO resource_deletions (orthanc_id, queued_at) SELECT DISTINCT value, ?2 FROM json_each(?1) WHERE true
ON CONFLICT (orthanc_id) WHERE state IN {_OPEN_STATES} DO NOTHING
"""  # noqa: S608  constants only

_COLUMNS: Final = """
deletion_id, orthanc_id, level, state, instances_total, instances_left, queued_at, started_at, ended_at, attempts,
last_error,
(SELECT count(*) FROM resource_deletion_instances AS i WHERE i.deletion_id = d.deletion_id) AS instances_waiting
"""

# Newest first; the limit is MAX_KEPT.
LIST: Final = f"SELECT {_COLUMNS} FROM resource_deletions AS d ORDER BY deletion_id DESC LIMIT ?"  # noqa: S608  constants only

# The one to work on: the oldest that need not wait. ms
NEXT: Final = f"""
SELECT {_COLUMNS} FROM resource_deletions AS d WHERE state IN {_OPEN_STATES} AND next_attempt_at <= ?
ORDER BY deletion_id LIMIT 1
"""  # noqa: S608  constants only

# When the next attempt is due.
NEXT_ATTEMPT: Final = f"SELECT min(next_attempt_at) FROM resource_deletions WHERE state IN {_OPEN_STATES}"  # noqa: S608  constants only

# A restore under way that has brought back one of these. [instance_id, ...]
WANTED_BACK: Final = f"""
SELECT r.study_instance_uid FROM restores AS r JOIN held AS h ON h.restore_id = r.restore_id
WHERE r.state = '{RestoreState.IMPORTING}' AND h.instance_id IN (SELECT value FROM json_each(?)) LIMIT 1
"""  # noqa: S608  constants only

# Leaves a deletion queued until that restore has ended, which is no error. deletion_id, why, ms
PUT_OFF: Final = f"""
UPDATE resource_deletions SET last_error = ?2, next_attempt_at = ?3
WHERE deletion_id = ?1 AND state = '{DeletionState.QUEUED}'
"""  # noqa: S608  constants only

# Keeps an instance that a restore has brought back, although a deletion lists it. instance_id
TAKE_OFF: Final = f"""
UPDATE resource_deletion_instances SET attempts = -1 WHERE instance_id = ? AND attempts >= 0 AND deletion_id IN (
    SELECT deletion_id FROM resource_deletions WHERE state = '{DeletionState.RUNNING}')
"""  # noqa: S608  constants only

# A part of the list of instances. deletion_id, [instance_id, ...]. Twice changes nothing.
ADD_INSTANCES: Final = """
INSERT INTO resource_deletion_instances (deletion_id, instance_id) SELECT ?1, value FROM json_each(?2) WHERE true
ON CONFLICT DO NOTHING
"""

# The list is whole. deletion_id, level, ms
START: Final = f"""
UPDATE resource_deletions SET state = '{DeletionState.RUNNING}', level = ?2, started_at = ?3, attempts = 0,
    last_error = NULL, instances_total = (SELECT count(*) FROM resource_deletion_instances WHERE deletion_id = ?1)
WHERE deletion_id = ?1 AND state IN {listed(before(DeletionState.RUNNING))}
"""  # noqa: S608  constants only

# Some of the instances to delete, those that failed least first. deletion_id, limit
SLICE: Final = """
SELECT instance_id, attempts FROM resource_deletion_instances WHERE deletion_id = ? AND attempts >= 0
ORDER BY attempts, instance_id LIMIT ?
"""

# Removes deleted instances from the list. deletion_id, [instance_id, ...]
FORGET_INSTANCES: Final = """
DELETE FROM resource_deletion_instances WHERE deletion_id = ?1 AND (attempts, instance_id) IN (
    SELECT value ->> 1, value ->> 0 FROM json_each(?2)
)
"""

# An instance that failed goes behind the others. deletion_id, attempts, instance_id
SET_BACK: Final = """
UPDATE resource_deletion_instances SET attempts = attempts + 1
WHERE deletion_id = ? AND attempts = ? AND instance_id = ?
"""

# Records an error of Orthanc and when to try again. deletion_id, error, ms
TROUBLE: Final = f"""
UPDATE resource_deletions SET attempts = attempts + 1, last_error = ?2, next_attempt_at = ?3
WHERE deletion_id = ?1 AND state IN {_OPEN_STATES}
"""  # noqa: S608  constants only

# Orthanc works again: clears the error. deletion_id
NO_TROUBLE: Final = """
UPDATE resource_deletions SET attempts = 0, last_error = NULL, next_attempt_at = 0
WHERE deletion_id = ? AND attempts > 0
"""

# Ends a deletion. deletion_id, state, instances_left, ms, error, [state before, ...]
END: Final = """
UPDATE resource_deletions SET state = ?2, instances_left = ?3, ended_at = ?4, last_error = ?5
WHERE deletion_id = ?1 AND state IN (SELECT value FROM json_each(?6))
"""

# Cancels what is under way; its list stays, as the count of what was not done. orthanc_id, ms
CANCEL: Final = f"""
UPDATE resource_deletions SET state = '{DeletionState.CANCELLED}', ended_at = ?2
WHERE orthanc_id = ?1 AND state IN {listed(before(DeletionState.CANCELLED))}
"""  # noqa: S608  constants only

# Whether a resource is being deleted.
OPEN: Final = f"SELECT 1 FROM resource_deletions WHERE orthanc_id = ? AND state IN {_OPEN_STATES}"  # noqa: S608  constants only

# Forgets deletions that ended before a time, and all but the newest so many. ms, count
FORGET: Final = f"""
DELETE FROM resource_deletions WHERE state NOT IN {_OPEN_STATES} AND (ended_at < ?1 OR deletion_id <= (
    SELECT deletion_id FROM resource_deletions ORDER BY deletion_id DESC LIMIT 1 OFFSET ?2
))
"""  # noqa: S608  constants only

# Forgets their lists of instances, some at a time.
FORGET_LISTS: Final = """
DELETE FROM resource_deletion_instances WHERE (deletion_id, attempts, instance_id) IN (
    SELECT deletion_id, attempts, instance_id FROM resource_deletion_instances
    WHERE deletion_id NOT IN (SELECT deletion_id FROM resource_deletions) LIMIT 1000
)
"""
