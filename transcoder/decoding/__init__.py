"""Compressed pixel data decoded in a process of its own, since decoding hostile streams is where crashes live.

`worker` runs there, with `decoders`, `streams` and `limits`; `process` and `supervisor` run here; both speak `wire`.
What the worker imports stays within this folder, so that it starts in a fifth of a second.
"""
