"""Generated requests at the web API: every answer is what the OpenAPI document says, in words, whole and in time.

`python tests/faults/web.py --cases 2000` draws at least so many and prints how many each address had, and how they
ended. Requests come from schemathesis, that fit the document and that do not; from whole ones that were changed on the
wire; and from pictures that were damaged, or came in a form.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import schemathesis
import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as seeded
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis.python import asgi
from schemathesis.specs.openapi import checks as openapi

sys.path.insert(0, str(Path(__file__).parents[1] / "serve"))
from answers import Answer, check
from served import ATTRIBUTES, DIM, decoder, made, supported, workbench
from uploads import KINDS, forms, pictures
from wire import API, Wire, is_let_in, requests

from fclf.serve.app import create_app

ADDRESS = "http://127.0.0.1"
TOKEN = "a-token-of-two-dozen-signs"
MODES = tuple(schemathesis.GenerationMode)
CHECKS = [
    schemathesis.checks.not_a_server_error,
    openapi.status_code_conformance,
    openapi.content_type_conformance,
    openapi.response_headers_conformance,
    openapi.response_schema_conformance,
    openapi.negative_data_rejection,
]
"""Not that whatever fits the document is taken: it says neither which attributes there are nor how wide embeddings."""
REJECTED = {"negative_data_rejection": {"expected-statuses": ["400", "404", "413", "415", "422"]}}
"""What a request that does not fit the document may end in; 413, as one that is too long for it may be too large."""
CONFIG = schemathesis.Config.from_dict({"checks": REJECTED})
NO = ("The edit ends outside the unit sphere", "embeddings[", "Nothing to look for")
"""Refusals of requests that name what there is."""


class Fuzz:
    """Draws requests at an application and counts how they ended.

    Args:
        run: a checkpoint and its rows.
        draw: whether a decoder draws pictures into the answers, which takes most of the time.
        number: of the seed; None for the same examples every time.
    """

    def __init__(self, run: tuple[Any, Any], *, draw: bool = False, number: int | None = None) -> None:
        checkpoint, data = run
        self.bench = workbench(supported(checkpoint), data, decoder=decoder() if draw else None)
        self.ids = [str(name) for name in data.ids[:50]]
        self.schema = schemathesis.openapi.from_dict(self.app().openapi(), config=CONFIG)
        self.number, self.counts = number, dict[str, Counter[str]]()
        self.operations = [found.ok() for found in self.schema.get_all_operations()]

    def app(self, token: str | None = None) -> Any:
        """A new application: who closes one shuts it down for good."""
        return create_app(self.bench, run="trial", token=token, loopback=token is None)

    @property
    def total(self) -> int:
        """Requests so far."""
        return sum(sum(found.values()) for found in self.counts.values())

    def count(self, name: str, status: int) -> None:
        self.counts.setdefault(name, Counter())[str(status)] += 1

    def each(self, cases: int, strategy: st.SearchStrategy[Any], test: Callable[[Any], None]) -> None:
        """Draw so many cases, or all where there are fewer."""
        rules = settings(
            max_examples=cases,
            deadline=None,
            database=None,
            derandomize=self.number is None,
            suppress_health_check=list(HealthCheck),
            phases=(Phase.generate, Phase.shrink),
        )

        @rules
        @given(strategy)
        def run(one: Any) -> None:
            test(one)

        with suppress(Unsatisfiable):  # no request without parameters can be wrong
            (run if self.number is None else seeded(self.number)(run))()

    def documented(self, operation: Any, mode: Any, cases: int) -> None:
        """Requests at one operation, drawn from the document."""
        with asgi.get_client(self.app(), max_stream_events=1) as client:

            def ask(drawn: tuple[Any, dict[str, Any] | None]) -> None:
                case, names = drawn
                known = mode.is_positive and names is not None and self._know(case, names)
                found = case.call(base_url=ADDRESS, session=client)
                case.validate_response(found, checks=CHECKS)
                headers = {name: ", ".join(values) for name, values in found.headers.items()}
                check(Answer(found.status_code, headers, found.content, found.elapsed), case.method)
                if known and found.status_code != 200:
                    assert json.loads(found.content)["detail"].startswith(NO), found.content
                self.count(f"{operation.label} {mode.value}", found.status_code)

            strategy = operation.as_strategy(generation_mode=mode)
            self.each(cases, st.tuples(strategy, self._names()), ask)

    def _names(self) -> st.SearchStrategy[Any]:
        """What there is, to put into a request; None for a request as it was drawn."""
        number = st.floats(-1e308, 1e308) | st.floats(-1, 1)
        return st.none() | st.fixed_dictionaries(
            {
                "people": st.lists(st.sampled_from(self.ids), min_size=1, max_size=16),
                "set": st.dictionaries(st.sampled_from(ATTRIBUTES), st.integers(0, 1)),
                "embeddings": st.lists(st.lists(number, min_size=DIM, max_size=DIM), max_size=4),
            }
        )

    def _know(self, case: Any, names: dict[str, Any]) -> bool:
        """Put what there is into a request that names none of it; whether it is right then."""
        if isinstance(case.body, dict):
            case.body = {**case.body, **{key: names[key] for key in case.body if key in names}}
        elif case.path == f"{API}/person":
            case.query = {"id": names["people"][0]}
        return case.path != f"{API}/upload"

    def wire(self, cases: int) -> None:
        """Requests that were changed on the wire, half of them at a server that asks for a token."""
        whole = {"people": self.ids[:2], "set": {"Smiling": 1}, "strength": 1.0, "keep": 0.5}
        for token, name in ((None, "on the wire"), (TOKEN, "on the wire, with a token")):
            with wired(self.app(token)) as found:

                def ask(
                    asked: dict[str, Any], found: Wire = found, token: str | None = token, name: str = name
                ) -> None:
                    answer = found.ask(**asked)
                    check(answer, asked["method"])
                    if token is not None and not is_let_in(asked, token):
                        assert answer.status in (401, 403), f"It lets {asked} in"
                    self.count(name, answer.status)

                self.each(cases // 2, requests(json.dumps(whole).encode(), token), ask)

    def uploads(self, cases: int) -> None:
        """Pictures that are damaged or something else, and forms."""
        with wired(self.app()) as found:

            def ask(one: tuple[str, bytes, bool], name: str = "pictures") -> None:
                kind, body, whole = one
                headers = [(b"host", b"localhost"), (b"content-type", kind.encode("latin-1"))]
                answer = found.ask("POST", f"{API}/upload", headers=headers, parts=(body,))
                check(answer)
                if kind.partition(";")[0].strip().lower() not in KINDS:
                    assert answer.status == 415
                else:
                    assert answer.status in ((200,) if whole else (200, 422)), answer.body
                self.count(name, answer.status)

            self.each(cases // 2, pictures(), ask)
            self.each(cases // 2, forms().map(lambda one: (*one, False)), lambda one: ask(one, "forms"))

    def run(self, cases: int, say: Callable[[str], object] = lambda _: None) -> None:
        """At least so many requests: half from the document, and the others by hand."""
        for operation in self.operations:
            for mode in MODES:
                begun = time.perf_counter()
                self.documented(operation, mode, -(-cases // (4 * len(self.operations))))
                say(f"{operation.label} {mode.value}: {time.perf_counter() - begun:.1f} s")
        self.uploads(-(-cases // 4))
        self.wire(max(cases // 4, cases - self.total))


@contextmanager
def wired(app: Any) -> Iterator[Wire]:
    """The application, asked directly."""
    found = Wire(app)
    try:
        yield found
    finally:
        found.close()


def run() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    begun = time.perf_counter()
    with tempfile.TemporaryDirectory() as name:
        fuzz = Fuzz(made(Path(name) / "run"), draw=True, number=options.seed)
        fuzz.run(options.cases, lambda text: sys.stderr.write(f"{text}\n"))
    for name, found in fuzz.counts.items():
        ends = ", ".join(f"{status}: {count}" for status, count in sorted(found.items()))
        sys.stdout.write(f"{sum(found.values()):6,}  {name}  ({ends})\n")
    sys.stdout.write(f"{fuzz.total:6,}  in all, {time.perf_counter() - begun:.0f} s\n")


if __name__ == "__main__":
    run()
