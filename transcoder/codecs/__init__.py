"""Lossless encoders, and the frames of one instance through them."""
