"""Compares the storage folder with Orthanc's index and the ledger: orphans, missing files, wrong sizes."""
