"""Proves that a conversion changed nothing, and keeps the proofs of pixels that end after the callback."""
