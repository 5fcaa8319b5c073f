"""The ledger of pending deletions: an SQLite file, its statements, and what else is recorded in it."""
