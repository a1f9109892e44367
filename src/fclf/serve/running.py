"""From an application to a server that listens, says where, and stops when it is asked to."""

from __future__ import annotations

import secrets
import signal
import socket
from collections.abc import Callable

import uvicorn
from fastapi import FastAPI

from fclf.errors import InputError
from fclf.serve.guards import is_loopback
from fclf.serve.settings import Limits

__all__ = ["address", "listen", "make_token", "serve"]

LEAST_TOKEN = 16
HEADER_BYTES = 16 * 1024
KEEP_ALIVE = 5
GRACE = 3
BACKLOG = 128


def make_token(host: str, given: str | None) -> str | None:
    """The token of a server: what was given, or a new one where others than this machine can reach it.

    Raises:
        InputError: for one that could be guessed, or that no header can carry.
    """
    if given is None:
        return None if is_loopback(host) else secrets.token_urlsafe(24)
    if len(given) < LEAST_TOKEN or not given.isascii() or not given.isprintable() or " " in given:
        raise InputError(
            f"--token: {len(given)} characters came; at least {LEAST_TOKEN} of ASCII without spaces are needed. Leave "
            "it out to have one made."
        )
    return given


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens.

    Raises:
        InputError: if the port is in use or may not be used, or the host is none of this machine's.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        found = socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        raise InputError(f"--host {host}: there is no such address ({error.strerror or error}).") from error
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind((host, port))
        found.listen(BACKLOG)
    except OSError as error:
        found.close()
        raise InputError(
            f"--host {host} --port {port}: cannot listen there ({error.strerror or error}). Name another --port, or 0 "
            "for any that is free."
        ) from error
    return found


def address(host: str, port: int, token: str | None) -> str:
    """What to type into a browser; the token stands in the fragment, which browsers send nobody."""
    shown = f"[{host}]" if ":" in host else host
    return f"http://{shown}:{port}/" + ("" if token is None else f"#token={token}")


def serve(app: FastAPI, listening: socket.socket, limits: Limits, say: Callable[[], None]) -> None:
    """Answer until an interrupt (Ctrl-C) or a termination comes; then finish what was begun.

    Args:
        app: answers.
        listening: where.
        limits: connections at once.
        say: called when the first request can be answered.
    """
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,  # addresses hold ids
        server_header=False,
        ws="none",
        http="h11",
        loop="asyncio",
        limit_concurrency=limits.connections,
        timeout_keep_alive=KEEP_ALIVE,
        timeout_graceful_shutdown=GRACE,
        h11_max_incomplete_event_size=HEADER_BYTES,
    )

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            if self.started:
                say()

    before = signal.signal(signal.SIGTERM, lambda *_: None)  # uvicorn raises the signal again when it has stopped
    try:
        Server(config).run(sockets=[listening])
    except KeyboardInterrupt:
        pass
    finally:
        signal.signal(signal.SIGTERM, before)
