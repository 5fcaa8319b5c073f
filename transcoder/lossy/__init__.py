"""Lossy compression within a bound, and marking the new file as derived."""
