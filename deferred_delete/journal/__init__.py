"""The intake journal: what Orthanc asked to remove, in mapped memory, until a ledger has it.

record.py is one record, segment.py a file of them, journal.py appends to a row of files, leftovers.py reads what a dead
process left. Nothing here knows SQLite, and nothing here has a thread.
"""
