"""Writes the new file: file meta information, and the data set with its encoded frames."""
