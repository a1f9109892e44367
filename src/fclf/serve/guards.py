"""What every request passes before it is looked at, and every answer carries: plain ASGI, so that nothing gets by."""

from __future__ import annotations

import asyncio
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fclf.serve.settings import Limits

__all__ = ["HEADERS", "LOOPBACK", "OPEN", "BodyLimit", "Gate", "SecurityHeaders", "is_loopback"]

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
OPEN = frozenset({"/", "/page.css", "/page.js", "/icon.svg", "/docs", "/docs.js", "/openapi.json", "/healthz"})
"""Paths without a row of data in them, which need no token: a page could not be loaded with one in a header."""
HEADERS = {
    "content-security-policy": "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "x-frame-options": "DENY",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}
"""What every answer carries."""
DIGITS = 20
"""Of a length that a client says; Python itself refuses to read a number of thousands of them."""


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a server bound to the host."""
    return host in LOOPBACK


@dataclass(frozen=True)
class Gate:
    """Refuses requests for another host or from another site, and those without the token.

    A page of somebody else may have its name resolve to this machine (DNS rebinding); its requests then come with
    that name as their Host. Without a proxy before it, a server bound to the loopback interface knows its names.

    Args:
        app: what is behind.
        hosts: names by which the server may be called; None for any.
        token: what requests must bring along as `Authorization: Bearer`; None for nothing.
    """

    app: ASGIApp
    hosts: frozenset[str] | None
    token: str | None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if self.hosts is not None and _name(host) not in self.hosts:
            await refuse(send, 421, "This server answers to 127.0.0.1 and localhost only; the request named another.")
        elif (origin := headers.get("origin")) is not None and _site(origin) != host:
            await refuse(send, 403, "Pages of other sites may not ask this server.")
        elif self.token is not None and scope["path"] not in OPEN and not self._knows(headers):
            ask = {"www-authenticate": "Bearer"}
            await refuse(send, 401, "This server asks for its token, as `Authorization: Bearer TOKEN`.", ask)
        else:
            await self.app(scope, receive, send)

    def _knows(self, headers: Headers) -> bool:
        kind, _, given = headers.get("authorization", "").partition(" ")
        expected = (self.token or "").encode()
        return kind.lower() == "bearer" and hmac.compare_digest(given.strip().encode("utf-8", "replace"), expected)


@dataclass(frozen=True)
class BodyLimit:
    """Reads bodies up to a size and within a time, before anything else does."""

    app: ASGIApp
    limits: Limits
    upload: str
    """Path of the one that may be larger."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on with its whole body, or answer it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        most = self.limits.upload_bytes if scope["path"] == self.upload else self.limits.body_bytes
        said = f"The body is larger than {most:,} bytes, the most that is taken here."
        declared = Headers(scope=scope).get("content-length", "0")
        if not declared.isascii() or not declared.isdigit() or len(declared) > DIGITS or int(declared) > most:
            await refuse(send, 413, said, {"connection": "close"})
            return
        try:
            async with asyncio.timeout(self.limits.body_seconds):
                body = await _read(receive, most)
        except TimeoutError:
            await refuse(send, 408, "The body did not arrive in time.", {"connection": "close"})
            return
        except ConnectionResetError:
            return
        if body is None:
            await refuse(send, 413, said, {"connection": "close"})
            return
        whole: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

        async def replay() -> Message:
            return whole.pop() if whole else await receive()

        await self.app(scope, replay, send)


@dataclass(frozen=True)
class SecurityHeaders:
    """Adds the headers that keep a browser from doing more with an answer than it is meant for."""

    app: ASGIApp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
            await send(message)

        await self.app(scope, receive, with_headers if scope["type"] == "http" else send)


async def _read(receive: Receive, most: int) -> bytes | None:
    """The body, or None where it is too large; `ConnectionResetError` where the client went away before its end."""
    parts, size = [], 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ConnectionResetError
        part = message.get("body", b"")
        size += len(part)
        if size > most:
            return None
        parts.append(part)
        if not message.get("more_body", False):
            return b"".join(parts)


def _name(host: str) -> str:
    """A Host header without its port."""
    name, colon, port = host.rpartition(":")
    if not colon or not port.isdigit():
        name = host
    return name.removeprefix("[").removesuffix("]").lower()


def _site(origin: str) -> str | None:
    """Host and port of an Origin header; None where it is none, which is no site of ours."""
    try:
        return urlsplit(origin).netloc
    except ValueError:  # a bracket that is never closed
        return None


async def refuse(send: Send, status: int, detail: str, headers: Mapping[str, str] | None = None) -> None:
    """Answer in words."""
    body = json.dumps({"detail": detail}).encode()
    listed = {"content-type": "application/json", "content-length": str(len(body)), **(headers or {})}
    start = [(name.encode(), value.encode()) for name, value in listed.items()]
    await send({"type": "http.response.start", "status": status, "headers": start})
    await send({"type": "http.response.body", "body": body})
