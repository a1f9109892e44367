"""Requests as they come off the wire, straight into the application: nothing corrects a header or an address."""

import asyncio
import time
from urllib.parse import unquote

from answers import LONGEST, Answer
from hypothesis import strategies as st

from fclf.serve.app import PAGES
from fclf.serve.guards import OPEN

API = "/api/v1"
ADDRESSES = [
    *PAGES,
    "/openapi.json",
    "/healthz",
    "/metrics",
    *(f"{API}/{name}" for name in ("about", "people", "people/random", "person", "edit", "neighbours", "upload")),
]
OFTEN = [*ADDRESSES, *[f"{API}/edit", f"{API}/neighbours"] * 4]
"""Most of what there is to change is in the bodies of two."""
METHODS = ["HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "get", "\x00", "QUERY"]
HOSTS = ["127.0.0.1", "localhost:8000", "[::1]", "LOCALHOST", "evil.example", "", "127.0.0.1:x", "[::1", "localhost:²"]
VALUES = [
    *HOSTS,
    "http://127.0.0.1",
    "http://[",
    "null",
    "Bearer",
    "Bearer " + "x" * 400,
    "application/json",
    "application/json; charset=utf-16",
    "application/json; charset=no-such",
    "multipart/form-data",
    "image/png",
    "text/plain; boundary=\xff",
    "0",
    "-1",
    "9" * 30,
    "bytes=0-99999999",
    "gzip, br",
    "chunked",
    "100-continue",
    "../../etc/passwd",
    "<script>alert(1)</script>",
]
NAMES = ["host", "origin", "authorization", "content-type", "content-length", "accept", "range", "cookie", "referer"]
NAMES += ["transfer-encoding", "expect", "if-none-match", "x-forwarded-host", "x-forwarded-for", "content-encoding"]
PAIRS = [
    ("content-length", "9" * 5000),
    ("content-length", "65537"),
    ("origin", "http://["),
    ("origin", "http://127.0.0.1"),
    ("origin", "null"),
    ("content-type", "application/json; charset=utf-16"),
]
"""Names with values that are read there."""
TAILS = ["/", "//", "/..", "/%2e%2e/x", "%00", "%0d%0aset-cookie:x", "?", ";x", "/\u202e", "%ff%fe", "/a" * 300]
QUERIES = [
    b"",
    b"query=0003",
    b"id=%00",
    b"limit=1e9",
    b"limit=%EF%BC%91",
    b"query=%ff%fe",
    b"id=a&id=b",
    b"%",
    b"&&=&",
    b"\xff",
]

KNOWN = [b"id=folder%2Fperson-0001.jpg", b"query=person&limit=3"] * 6


class Wire:
    """Asks an application on a loop of its own."""

    def __init__(self, app):
        self._app, self._runner = app, asyncio.Runner()

    def ask(self, method="GET", target="/", query=b"", headers=(), parts=(b"",)):
        """One request and its answer; the body comes in parts."""
        begun = time.perf_counter()
        sent = self._runner.run(self._ask(method, target, query, list(headers), list(parts)))
        start = next(message for message in sent if message["type"] == "http.response.start")
        body = b"".join(message["body"] for message in sent if message["type"] == "http.response.body")
        assert not sent[-1].get("more_body", False), "The answer has no end"
        found = {name.decode().lower(): value.decode("latin-1") for name, value in start["headers"]}
        return Answer(start["status"], found, body, time.perf_counter() - begun)

    async def _ask(self, method, target, query, headers, parts):
        sent = []
        left = [{"type": "http.request", "body": part, "more_body": True} for part in parts]
        left[-1]["more_body"] = False

        async def receive():
            return left.pop(0) if left else {"type": "http.disconnect"}

        async def send(message):
            sent.append(message)

        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": unquote(target),
            "raw_path": target.encode("utf-8"),
            "root_path": "",
            "query_string": query,
            "headers": headers,
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 8000),
        }
        async with asyncio.timeout(2 * LONGEST):
            await self._app(scope, receive, send)
        return sent

    def close(self):
        self._app.state.queue.close()
        self._runner.close()


@st.composite
def bodies(draw, whole):
    """A body that was right once, in parts: cut, repeated, with bytes changed; or any bytes."""
    content = draw(st.one_of(st.just(whole), st.binary(max_size=200)))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, max(len(content) - 1, 0)))
        end = draw(st.integers(at, len(content)))
        change = draw(st.sampled_from(["cut", "drop", "repeat", "put"]))
        if change == "cut":
            content = content[:at]
        elif change == "drop":
            content = content[:at] + content[end:]
        elif change == "repeat":
            content = content[:end] + content[at:end] * draw(st.sampled_from([1, 2, 200])) + content[end:]
        else:
            content = content[:at] + draw(st.sampled_from(PIECES) | st.binary(max_size=8)) + content[at:]
    at = draw(st.integers(0, len(content)))
    return draw(st.sampled_from([(content,), (content[:at], content[at:]), (b"", content, b"")]))


PIECES = [b"\xff", b"\x00", b"\\ud800", b"NaN", b"-Infinity", b"1e999", b"0" * 5000, b"[" * 3000, b'{"a":' * 2000]
PIECES += [b'"', b"}", b"]", b",", b"null", b"true", b"\xef\xbb\xbf", "\u202e\u2028".encode(), b"-", b"1.0", b"{}"]


@st.composite
def requests(draw, whole, token=None):
    """Arguments of `Wire.ask`: something near a request that is right."""
    host = draw(st.sampled_from(["127.0.0.1"] * 3 * len(HOSTS) + HOSTS))
    headers = [(b"host", host.encode())]
    value = st.sampled_from(VALUES) | st.text(st.characters(max_codepoint=255), max_size=20)
    pairs = st.sampled_from(PAIRS) | st.tuples(st.sampled_from(NAMES), value)
    headers += [(name.encode(), said.encode("latin-1")) for name, said in draw(st.lists(pairs, max_size=3))]
    if token is not None and draw(st.booleans()):  # the first that comes counts
        headers.append(
            (b"authorization", draw(st.sampled_from([f"Bearer {token}", token, f"Bearer {token[:-1]}"])).encode())
        )
    if draw(st.sampled_from([True, True, False])):
        headers.append((b"content-type", b"application/json"))
    return {
        "method": draw(st.sampled_from(["GET", "POST", "POST"] * len(METHODS) + METHODS)),
        "target": draw(st.sampled_from(OFTEN)) + draw(st.sampled_from([""] * 3 * len(TAILS) + TAILS)),
        "query": draw(st.sampled_from([*KNOWN, *QUERIES]) | st.binary(max_size=30)),
        "headers": headers,
        "parts": draw(bodies(whole)),
    }


def is_let_in(asked, token):
    """Whether the token came along, or is not asked for."""
    given = next((value.decode("latin-1") for name, value in asked["headers"] if name == b"authorization"), "")
    return unquote(asked["target"]) in OPEN or (given.lower().startswith("bearer ") and given[7:].strip() == token)
