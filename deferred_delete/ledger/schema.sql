-- The ledger of pending deletions, schema version 1. Read by schema.py when a ledger is made; never run on one that exists.
-- What later versions add is in schema_2.sql and schema_3.sql; a new ledger goes through the same migrations as an old one.
-- application_id and user_version are set by schema.py. Pages are 1 KiB, because each commit copies every page it touches into
-- the write-ahead log and a deletion touches four: with 4 KiB pages an enqueue took two to four times as long.

-- One row for each file that Orthanc asked to remove and that may still be on disk.
CREATE TABLE pending (
    -- Given out in ascending order and never twice by one process: a late "complete" can not hit a newer row.
    pending_id      INTEGER PRIMARY KEY,
    -- Unique: Orthanc may ask twice, the file goes once. The constraint's index is also how an attachment is looked up.
    attachment_uuid TEXT    NOT NULL UNIQUE,
    -- Orthanc's content type (1 DICOM, 3 DICOM until pixel data, 0 user attachments): only handed on, never interpreted.
    content_type    INTEGER NOT NULL,
    -- ms since 1970 on the ledger's clock (clock.py), which never runs backwards.
    enqueued_at     INTEGER NOT NULL,
    -- pending: waits for its first attempt; claimed: the worker has it in hand; failed: an attempt failed, waits for the next.
    state           TEXT    NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'claimed', 'failed')),
    -- Failed attempts so far; the back-off doubles with it.
    attempts        INTEGER NOT NULL DEFAULT 0,
    -- ms since 1970: enqueued_at plus the grace period, later the next retry.
    next_attempt_at INTEGER NOT NULL,
    -- One line, for operators.
    last_error      TEXT
) STRICT;

-- Claim takes the rows that are due, oldest first, without ever looking at the others; rows in hand are left out, so that
-- a claim never reads past them.
CREATE INDEX pending_due ON pending (next_attempt_at) WHERE state <> 'claimed';

-- Recovery at start finds what a crash left claimed: at most one batch among ten million rows.
CREATE INDEX pending_claimed ON pending (pending_id) WHERE state = 'claimed';

-- Operators list what failed, in order, without a scan.
CREATE INDEX pending_failed ON pending (pending_id) WHERE state = 'failed';

-- Rows by state, in one row. Kept by the triggers below inside the same transaction as the change: always exact, also after a
-- SIGKILL and for a process that only looks; a count(*) over ten million rows would take a second for every status call.
CREATE TABLE counts (
    only    INTEGER PRIMARY KEY CHECK (only = 1),
    pending INTEGER NOT NULL,
    claimed INTEGER NOT NULL,
    failed  INTEGER NOT NULL
) STRICT;
INSERT INTO counts VALUES (1, 0, 0, 0);

CREATE TRIGGER counts_enqueued AFTER INSERT ON pending BEGIN
    UPDATE counts SET pending = pending + (new.state = 'pending'), claimed = claimed + (new.state = 'claimed'),
                      failed = failed + (new.state = 'failed');
END;

CREATE TRIGGER counts_moved AFTER UPDATE OF state ON pending WHEN old.state <> new.state BEGIN
    UPDATE counts SET pending = pending + (new.state = 'pending') - (old.state = 'pending'),
                      claimed = claimed + (new.state = 'claimed') - (old.state = 'claimed'),
                      failed = failed + (new.state = 'failed') - (old.state = 'failed');
END;

CREATE TRIGGER counts_completed AFTER DELETE ON pending BEGIN
    UPDATE counts SET pending = pending - (old.state = 'pending'), claimed = claimed - (old.state = 'claimed'),
                      failed = failed - (old.state = 'failed');
END;

-- Facts about the ledger as a whole: 'paused' (0 or 1, survives a restart); 'boot_id' and 'clean' (was it closed before the
-- machine went down) and the rows in doubt if it was not: 'suspect_since' (ms), 'suspect_until' (pending_id), see power_loss.py;
-- 'copied_back', the time of the last checkpoint (ns), see database.py.
CREATE TABLE facts (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO facts VALUES ('paused', '0'), ('boot_id', ''), ('clean', '1'), ('suspect_since', '0'), ('suspect_until', '0'),
    ('copied_back', '0');
