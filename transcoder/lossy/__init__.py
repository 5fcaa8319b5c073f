"""Lossy compression within a bound, and marking the file as derived."""
