"""Requests that a page of another site may have caused are refused."""

from __future__ import annotations

import pytest

from plugin.cross_site import refusal


@pytest.mark.parametrize(
    "headers",
    [
        {},  # curl, a script
        {"host": "pacs:8042"},
        {"sec-fetch-site": "same-origin", "origin": "https://pacs", "host": "127.0.0.1:8042"},  # TLS ends at the proxy
        {"sec-fetch-site": "none"},  # typed by the operator
        {"origin": "http://pacs:8042", "host": "pacs:8042"},  # no Sec-Fetch-Site on plain HTTP
        {"origin": "http://PACS:8042", "host": "Pacs:8042"},
        {"origin": "http://pacs", "host": "pacs"},
        {"origin": "http://pacs:80", "host": "pacs"},
        {"origin": "http://pacs", "host": "127.0.0.1:8042", "x-forwarded-host": "pacs"},
        {"origin": "http://pacs", "host": "127.0.0.1:8042", "x-forwarded-host": "pacs, inner"},
        {"origin": "http://[::1]:8042", "host": "[::1]:8042"},
    ],
)
def test_own_pages_and_programs_are_let_through(headers: dict[str, str]) -> None:
    assert refusal(headers) == ""


@pytest.mark.parametrize(
    ("headers", "words"),
    [
        ({"sec-fetch-site": "cross-site"}, "another site"),
        ({"sec-fetch-site": "same-site", "origin": "http://other.pacs", "host": "other.pacs"}, "another site"),
        ({"origin": "http://evil", "host": "pacs:8042"}, "http://evil"),
        ({"origin": "null", "host": "null"}, "is of null"),  # a sandboxed frame, a file
        ({"origin": "http://pacs", "host": "127.0.0.1:8042"}, "X-Forwarded-Host"),
        ({"origin": "http://pacs:8043", "host": "pacs:8042"}, "pacs:8043"),
        ({"origin": "file://", "host": ""}, "file://"),
        ({"origin": "", "host": ""}, "is of"),
        ({"origin": "http://user@pacs", "host": "pacs"}, "user@pacs"),
    ],
)
def test_pages_of_others_are_refused_in_words(headers: dict[str, str], words: str) -> None:
    assert words in refusal(headers)
