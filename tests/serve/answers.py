"""What every answer of the server must be, whatever was asked."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path

from fclf.serve.guards import HEADERS

ROOT = Path(__file__).parents[2]
LONGEST = 10.0
"""Seconds: what a server gives up after, and so the longest that an answer may take."""
REFUSALS = {400, 401, 403, 404, 405, 408, 413, 415, 421, 422}
"""How bad input may end: 503 and 504 are of crowds, and nobody else asks here."""
INSIDE = ("Traceback (most recent call last)", 'File "', "site-packages", str(ROOT), sys.prefix)
"""What would tell of the machine."""


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    """By lower-case name."""
    body: bytes
    seconds: float


def check(answer, method="GET"):
    """Fail with what is wrong with an answer."""
    assert answer.status == 200 or answer.status in REFUSALS, f"It answers {answer.status}: {answer.body[:200]!r}"
    lacking = [name for name, value in HEADERS.items() if answer.headers.get(name) != value]
    assert lacking == [], f"Without {lacking}"
    assert not [name for name in answer.headers if name.startswith("access-control")]
    assert "server" not in answer.headers
    text = answer.body.decode("utf-8").replace('\\"', '"')
    told = [sign for sign in INSIDE if sign in text]
    assert told == [], f"It tells of the inside: {told}"
    assert answer.seconds < LONGEST, f"It takes {answer.seconds:.1f} s"
    if method != "HEAD":
        assert int(answer.headers.get("content-length", len(answer.body))) == len(answer.body)
        assert answer.status == 200 or _in_words(answer), f"It does not say why: {answer.body[:200]!r}"


def _in_words(answer):
    content = json.loads(answer.body)
    said = answer.headers["content-type"] == "application/json" and list(content) == ["detail"]
    return said and isinstance(content["detail"], str) and " " in content["detail"]
