"""What the other cores count, in the words of the Prometheus exposition."""

from __future__ import annotations
