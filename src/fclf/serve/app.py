"""The HTTP side: routes, their errors in words, and the page."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from html import escape
from importlib.resources import files
from typing import Annotated, Any, TypeVar

from fastapi import FastAPI, HTTPException, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse
from starlette.exceptions import HTTPException as StarletteHTTPException

from fclf import __version__
from fclf.errors import InputError
from fclf.intended_use import NOTICE
from fclf.report.html.intended import listed
from fclf.serve.about import about
from fclf.serve.guards import HEADERS, LOOPBACK, BodyLimit, Gate, SecurityHeaders
from fclf.serve.metrics import Counted, Counts
from fclf.serve.pictures import FORMATS, PictureError, decode_upload
from fclf.serve.queue import BusyError, TooSlowError, WorkQueue
from fclf.serve.rows import UPLOAD, UnknownPersonError
from fclf.serve.schemas import (
    About,
    EditAnswer,
    EditRequest,
    Failure,
    NeighboursAnswer,
    NeighboursRequest,
    People,
    Person,
    VerdictAbout,
)
from fclf.serve.workbench import Workbench

__all__ = ["create_app"]

T = TypeVar("T")
API = "/api/v1"
RETRY_AFTER = 1
"""Seconds after which one who found the line full may come again."""
MOST_IDS = 50
PAGES = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
    "/docs": ("docs.html", "text/html; charset=utf-8"),
    "/docs.js": ("docs.js", "text/javascript; charset=utf-8"),
}
"""Everything static, by its address: read once at the start, so that no address is ever a path."""
SAID = {
    400: "The body is not text that can be read as JSON.",
    401: "The token is missing or wrong.",
    403: "The request comes from a page of another site.",
    404: "No row has this id.",
    408: "The body did not arrive in time.",
    413: "The body is too large.",
    415: "No JPEG, PNG or WebP.",
    421: "The server is called by a name that is not its own.",
    422: "The request cannot be used; `detail` says why.",
    503: "The line is full; come again after `Retry-After` seconds.",
    504: "The answer took too long.",
}
"""Every refusal, whose body is a `Failure`."""
ANYWHERE = (403, 408, 413, 421)
"""What the guards answer before a route is looked for."""
TOLD = {401: "WWW-Authenticate", 503: "Retry-After"}
"""The header that a refusal brings along."""


def create_app(
    bench: Workbench,
    *,
    run: str = "",
    verdict: VerdictAbout | None = None,
    token: str | None = None,
    loopback: bool = True,
) -> FastAPI:
    """The application of one workbench.

    Args:
        bench: computes.
        run: what to call the run on the page.
        verdict: of the run's evaluation, where there is one.
        token: asked of every request for data; None for none.
        loopback: whether only this machine can reach the server, so that its names are known.
    """
    limits = bench.limits
    queue = WorkQueue(limits.workers, limits.waiting, limits.work_seconds)
    counts = Counts(queue)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        queue.close()

    app = FastAPI(
        title="fclf serve",
        version=__version__,
        summary="Edit embeddings along a trained flow.",
        description=f"Refused requests say why in `detail`. Nothing here is loaded from another host. {NOTICE}",
        docs_url=None,  # FastAPI's pages load scripts from a CDN
        redoc_url=None,
        lifespan=lifespan,
        redirect_slashes=False,  # a redirect would repeat the name by which the request called the server
    )
    app.state.queue, app.state.counts = queue, counts

    async def work(task: Callable[[], T]) -> T:
        return await queue.run(task)

    @app.get(f"{API}/about", tags=["model"], responses=_said(401))
    async def get_about() -> About:
        """What is served: attributes, limits, who reads attributes, the verdict of the run's evaluation."""
        return about(bench, run, verdict)

    @app.get(f"{API}/people", tags=["people"], responses=_said(401, 422, 503, 504))
    async def search_people(
        query: Annotated[str, Query(max_length=256)] = "", limit: Annotated[int, Query(ge=1, le=MOST_IDS)] = 20
    ) -> People:
        """Ids that contain a text, in the order of the file."""
        found, more = await work(lambda: bench.rows.search(query, limit))
        return People(ids=found, total=len(bench.rows), more=more)

    @app.get(f"{API}/people/random", tags=["people"], responses=_said(401, 503, 504))
    async def random_person() -> Person:
        """Any row, of those that neither training nor the judge has read where there are such."""
        return await work(lambda: bench.person(bench.rows.random()))

    @app.get(f"{API}/person", tags=["people"], responses=_said(401, 404, 422, 503, 504))
    async def get_person(id: Annotated[str, Query(min_length=1, max_length=256)]) -> Person:
        """A row by its id: its labels, and whether training or the judge has read it."""
        return await work(lambda: bench.person(id))

    @app.post(f"{API}/edit", tags=["edit"], responses=_said(400, 401, 404, 422, 503, 504))
    async def edit(asked: EditRequest) -> EditAnswer:
        """Carry rows to the target attributes, and tell what became of them."""
        return await work(lambda: bench.edit(asked))

    @app.post(f"{API}/neighbours", tags=["edit"], responses=_said(400, 401, 404, 422, 503, 504))
    async def neighbours(asked: NeighboursRequest) -> NeighboursAnswer:
        """Real rows that are nearest to rows or embeddings."""
        return await work(lambda: bench.neighbours(asked))

    @app.post(
        f"{API}/upload",
        tags=["people"],
        responses=_said(401, 415, 422, 503, 504),
        openapi_extra={
            "requestBody": {
                "required": True,
                "content": {kind: {"schema": {"type": "string", "format": "binary"}} for kind in FORMATS},
            }
        },
    )
    async def upload(request: Request) -> Person:
        """Embed a picture, sent as the body itself; its embedding is held in memory for a while, the picture is not."""
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind not in FORMATS:
            raise HTTPException(415, f"Pictures come as {', '.join(FORMATS)}, but this is '{kind[:64]}'.")
        content = await request.body()
        return await work(lambda: bench.upload(decode_upload(content, kind, limits.upload_pixels)))

    @app.get("/healthz", tags=["operation"], responses=_said())
    async def healthz() -> dict[str, str]:
        """Whether the server answers."""
        return {"status": "ok"}

    @app.get("/metrics", tags=["operation"], response_class=PlainTextResponse, responses=_said(401))
    async def metrics() -> Response:
        """Counts for Prometheus."""
        return Response(counts.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    _add_pages(app)
    _add_errors(app, counts)
    hosts = LOOPBACK if loopback else None
    # The last that is added comes first.
    app.add_middleware(BodyLimit, limits=limits, upload=f"{API}/upload")
    app.add_middleware(Gate, hosts=hosts, token=token)
    app.add_middleware(SecurityHeaders)
    app.add_middleware(Counted, counts=counts)
    return app


def _said(*codes: int) -> dict[int | str, dict[str, Any]]:
    """The refusals of a route, for the OpenAPI document."""
    found: dict[int | str, dict[str, Any]] = {}
    for code in sorted({*codes, *ANYWHERE}):
        found[code] = {"model": Failure, "description": SAID[code]}
        if code in TOLD:
            found[code]["headers"] = {TOLD[code]: {"schema": {"type": "string"}}}
    return found


def _add_pages(app: FastAPI) -> None:
    folder = files("fclf.serve") / "static"

    def page_of(name: str, kind: str) -> Callable[[], Any]:
        text = (folder / name).read_text(encoding="utf-8")
        content = text.replace("<!-- notice -->", escape(NOTICE)).replace("<!-- intended use -->", listed("h3"))

        async def page() -> Response:
            return Response(content, media_type=kind)

        return page

    for address, (name, kind) in PAGES.items():
        app.add_api_route(address, page_of(name, kind), include_in_schema=False, response_class=Response)


def _add_errors(app: FastAPI, counts: Counts) -> None:
    """Every refusal says in words what is wrong, under the key `detail`."""

    def say(status: int, detail: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
        return JSONResponse({"detail": detail}, status, headers)

    @app.exception_handler(UnknownPersonError)
    async def unknown(_: Request, error: UnknownPersonError) -> JSONResponse:
        name = str(error.args[0])[:64]
        if name.startswith(UPLOAD):
            return say(404, "No upload is held under this id any more; upload the picture again.")
        return say(404, f"No row has the id '{name}'. Search for one, or take one at random.")

    @app.exception_handler(InputError)
    @app.exception_handler(PictureError)
    async def refused(_: Request, error: Exception) -> JSONResponse:
        return say(422, str(error))

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        problems = [f"{'.'.join(map(str, one['loc'][1:])) or 'body'}: {one['msg']}" for one in error.errors()[:4]]
        return say(422, "; ".join(problems)[:1000])

    @app.exception_handler(BusyError)
    async def busy(_: Request, error: BusyError) -> JSONResponse:
        counts.refused.inc()
        said = "The server has more to do than it takes on at once; come again in a moment."
        return say(503, said, {"Retry-After": str(RETRY_AFTER)})

    @app.exception_handler(TooSlowError)
    async def slow(_: Request, error: TooSlowError) -> JSONResponse:
        return say(504, "The answer took too long, and was given up.")

    @app.exception_handler(Exception)
    async def broken(_: Request, error: Exception) -> JSONResponse:
        # It is raised again after the answer, so that the log says what happened; the answer passes no guard.
        return say(500, "Something went wrong in the server; where it was started it says what.", HEADERS)

    @app.exception_handler(StarletteHTTPException)
    async def plain(_: Request, error: StarletteHTTPException) -> JSONResponse:
        return say(error.status_code, str(error.detail), dict(error.headers or {}))
