-- What schema version 3 changes of version 2. Run once, inside the transaction that raises user_version. The two tables made anew
-- have one row for each request of an operator; the pending deletions, however many, are not touched.

-- Like version 2's, with one more state: failed, an end after too many errors.
CREATE TABLE resource_deletions_3 (
    deletion_id     INTEGER PRIMARY KEY,
    orthanc_id      TEXT    NOT NULL,
    level           TEXT    NOT NULL DEFAULT '' CHECK (level IN ('', 'patient', 'study', 'series')),
    -- See study_states.py.
    state           TEXT    NOT NULL DEFAULT 'queued'
                    CHECK (state IN ('queued', 'running', 'done', 'unknown', 'cancelled', 'failed')),
    instances_total INTEGER NOT NULL DEFAULT 0,
    instances_left  INTEGER NOT NULL DEFAULT 0,
    queued_at       INTEGER NOT NULL,
    started_at      INTEGER,
    ended_at        INTEGER,
    next_attempt_at INTEGER NOT NULL DEFAULT 0,
    -- Errors in a row, without one success between them.
    attempts        INTEGER NOT NULL DEFAULT 0,
    last_error      TEXT
) STRICT;
INSERT INTO resource_deletions_3
SELECT deletion_id, orthanc_id, level, state, instances_total, instances_left, queued_at, started_at, ended_at,
    next_attempt_at, attempts, last_error FROM resource_deletions;
DROP TABLE resource_deletions;
ALTER TABLE resource_deletions_3 RENAME TO resource_deletions;
CREATE UNIQUE INDEX resource_deletions_open ON resource_deletions (orthanc_id) WHERE state IN ('queued', 'running');

-- A restore takes an instance off every list (attempts -1).
CREATE INDEX resource_deletion_instances_of ON resource_deletion_instances (instance_id);

-- Like version 2's, with one more state: cancelled; and with what a background deletion has: errors in a row, and not to be tried before.
CREATE TABLE restores_3 (
    restore_id         INTEGER PRIMARY KEY,
    study_instance_uid TEXT    NOT NULL,
    -- See study_states.py.
    state              TEXT    NOT NULL DEFAULT 'gathering'
                       CHECK (state IN ('gathering', 'importing', 'done', 'incomplete', 'cancelled')),
    requested_at       INTEGER NOT NULL,
    ended_at           INTEGER,
    instances_gone     INTEGER NOT NULL DEFAULT 0,
    outcomes           TEXT    NOT NULL DEFAULT '{}',
    next_attempt_at    INTEGER NOT NULL DEFAULT 0,
    attempts           INTEGER NOT NULL DEFAULT 0,
    last_error         TEXT
) STRICT;
INSERT INTO restores_3 (restore_id, study_instance_uid, state, requested_at, ended_at, instances_gone, outcomes, last_error)
SELECT restore_id, study_instance_uid, state, requested_at, ended_at, instances_gone, outcomes, last_error FROM restores;
DROP TABLE restores;
ALTER TABLE restores_3 RENAME TO restores;
CREATE UNIQUE INDEX restores_open ON restores (study_instance_uid) WHERE state IN ('gathering', 'importing');

-- How often Orthanc answered with an error for a file: it goes behind the others.
ALTER TABLE held ADD COLUMN tries INTEGER NOT NULL DEFAULT 0;
-- What Orthanc calls the instance that was brought back.
ALTER TABLE held ADD COLUMN instance_id TEXT;
DROP INDEX held_of_restore;
CREATE INDEX held_of_restore ON held (restore_id, outcome, tries);
