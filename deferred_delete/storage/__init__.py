"""Orthanc's files on disk: their layout, reading and writing them, header copies, free space."""
