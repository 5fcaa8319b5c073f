-- What schema version 2 adds to version 1 (schema.sql). Run once, inside the transaction that raises user_version.

-- One row for each patient, study or series that an operator asked to delete in the background.
CREATE TABLE resource_deletions (
    deletion_id     INTEGER PRIMARY KEY,
    -- Orthanc's identifier of the patient, study or series.
    orthanc_id      TEXT    NOT NULL,
    -- Empty until Orthanc was asked.
    level           TEXT    NOT NULL DEFAULT '' CHECK (level IN ('', 'patient', 'study', 'series')),
    -- queued: waits for its list of instances; running: the list is whole; the others are ends.
    state           TEXT    NOT NULL DEFAULT 'queued' CHECK (state IN ('queued', 'running', 'done', 'cancelled', 'unknown')),
    instances_total INTEGER NOT NULL DEFAULT 0,
    -- Instances that arrived after the list was made; known at the end.
    instances_left  INTEGER NOT NULL DEFAULT 0,
    -- Times in ms since 1970 on the ledger's clock.
    queued_at       INTEGER NOT NULL,
    started_at      INTEGER,
    ended_at        INTEGER,
    -- Not to be tried before, after an error.
    next_attempt_at INTEGER NOT NULL DEFAULT 0,
    attempts        INTEGER NOT NULL DEFAULT 0,
    last_error      TEXT
) STRICT;

-- A resource is deleted once at a time, whoever asks how often.
CREATE UNIQUE INDEX resource_deletions_open ON resource_deletions (orthanc_id) WHERE state IN ('queued', 'running');

-- The instances that are still to go: the list taken at the start, less those done.
CREATE TABLE resource_deletion_instances (
    deletion_id INTEGER NOT NULL,
    -- Failed attempts: a stubborn instance goes behind the others.
    attempts    INTEGER NOT NULL DEFAULT 0,
    instance_id TEXT    NOT NULL,
    PRIMARY KEY (deletion_id, attempts, instance_id)
) STRICT, WITHOUT ROWID;

-- What the headers of files that wait say, so that a study can be found again. Rows may outlive their file: that tells how
-- many instances of a study are gone already. Nothing here costs `remove` or the drain anything.
CREATE TABLE deleted_instances (
    -- The pending deletion's.
    pending_id         INTEGER PRIMARY KEY,
    attachment_uuid    TEXT    NOT NULL,
    file_bytes         INTEGER NOT NULL,
    -- NULL: the file could not be read as DICOM.
    study_instance_uid TEXT,
    sop_instance_uid   TEXT,
    patient_id         TEXT,
    patient_name       TEXT,
    study_date         TEXT,
    study_description  TEXT,
    modality           TEXT
) STRICT;
CREATE INDEX deleted_instances_of_study ON deleted_instances (study_instance_uid);

-- One row for each study that an operator wants back.
CREATE TABLE restores (
    restore_id         INTEGER PRIMARY KEY,
    study_instance_uid TEXT    NOT NULL,
    -- gathering: its files are being looked for, and nothing is unlinked meanwhile; importing: they are held and go back one by
    -- one; done: every one is proven to be back; incomplete: some are not, and stay held until somebody decides.
    state              TEXT    NOT NULL DEFAULT 'gathering' CHECK (state IN ('gathering', 'importing', 'done', 'incomplete')),
    requested_at       INTEGER NOT NULL,
    ended_at           INTEGER,
    -- Files were unlinked before they could be held.
    instances_gone     INTEGER NOT NULL DEFAULT 0,
    -- {outcome: instances} at the end, when the rows of `held` are gone.
    outcomes           TEXT    NOT NULL DEFAULT '{}',
    last_error         TEXT
) STRICT;
CREATE UNIQUE INDEX restores_open ON restores (study_instance_uid) WHERE state IN ('gathering', 'importing');

-- Pending deletions that a restore holds: the worker cannot see them. A row moves here by INSERT and back by DELETE, in one
-- statement each, by the two triggers below; an attachment is in one of the two tables, never in both.
CREATE TABLE held (
    pending_id       INTEGER PRIMARY KEY,
    attachment_uuid  TEXT    NOT NULL UNIQUE,
    content_type     INTEGER NOT NULL,
    enqueued_at      INTEGER NOT NULL,
    attempts         INTEGER NOT NULL,
    next_attempt_at  INTEGER NOT NULL,
    restore_id       INTEGER NOT NULL,
    sop_instance_uid TEXT    NOT NULL,
    -- NULL: not yet looked at. See reimport.py for the outcomes.
    outcome          TEXT,
    detail           TEXT
) STRICT;
CREATE INDEX held_of_restore ON held (restore_id, outcome);

CREATE TRIGGER held_taken AFTER INSERT ON held BEGIN
    DELETE FROM pending WHERE pending_id = new.pending_id;
END;

CREATE TRIGGER held_given_back AFTER DELETE ON held BEGIN
    INSERT INTO pending (pending_id, attachment_uuid, content_type, enqueued_at, state, attempts, next_attempt_at)
    VALUES (old.pending_id, old.attachment_uuid, old.content_type, old.enqueued_at,
            CASE old.attempts WHEN 0 THEN 'pending' ELSE 'failed' END, old.attempts, old.next_attempt_at);
END;

-- A second request for an attachment that is held changes nothing, as for one that is pending.
CREATE TRIGGER held_stays BEFORE INSERT ON pending
WHEN EXISTS (SELECT 1 FROM held WHERE attachment_uuid = new.attachment_uuid) BEGIN
    SELECT RAISE(IGNORE);
END;

-- The newest row of those that an operator ordered to go at once (orders.py); 0: no such order.
INSERT INTO facts VALUES ('drain_until', '0');
