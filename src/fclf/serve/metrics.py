"""What the server counts, for Prometheus."""

from __future__ import annotations

import time
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fclf.serve.queue import WorkQueue

__all__ = ["Counted", "Counts"]

BUCKETS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)


class Counts:
    """Requests by what was asked for and how it ended, their durations, and the line."""

    def __init__(self, queue: WorkQueue) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "fclf_requests", "Answered requests.", ["method", "route", "status"], registry=self.registry
        )
        self.seconds = Histogram(
            "fclf_request_seconds", "From request to answer.", ["route"], buckets=BUCKETS, registry=self.registry
        )
        self.refused = Counter("fclf_refused", "Work that found the line full.", registry=self.registry)
        held = Gauge("fclf_work", "Pieces of work that are done or wait.", registry=self.registry)
        held.set_function(lambda: queue.held)

    def text(self) -> bytes:
        """The exposition format."""
        return generate_latest(self.registry)


@dataclass(frozen=True)
class Counted:
    """Counts every request under its route's template: a path as it came would be a new series each time."""

    app: ASGIApp
    counts: Counts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        status, begun = 500, time.perf_counter()

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, noted)
        finally:
            route = getattr(scope.get("route"), "path", "none")
            method = scope["method"] if scope["method"] in ("GET", "HEAD", "POST") else "other"
            self.counts.requests.labels(method, route, str(status)).inc()
            self.counts.seconds.labels(route).observe(time.perf_counter() - begun)
