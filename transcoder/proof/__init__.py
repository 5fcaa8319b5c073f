"""Proof that nothing was lost, and proofs that end after the callback."""
