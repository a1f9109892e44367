"""Generated requests at the API, a few of each kind; `python tests/faults/web.py --cases 2000` draws many."""

import io
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from answers import Answer, check
from fastapi.exceptions import ResponseValidationError
from PIL import Image

from fclf.errors import InputError
from fclf.serve import app, guards
from fclf.serve.rows import Rows
from fclf.serve.workbench import Workbench

sys.path.insert(0, str(Path(__file__).parents[1] / "faults"))
import web

GOOD, BAD = web.MODES
FAILED = (AssertionError, BaseExceptionGroup, ValueError, ResponseValidationError)
"""What a failure of one request comes as, and those of several."""


@pytest.fixture
def fuzz(run):
    return web.Fuzz(run)


def of(fuzz, name):
    return next(found for found in fuzz.operations if found.label.endswith(name))


def ended(fuzz, name):
    return set(fuzz.counts.get(name, {}))


def test_requests_that_fit_the_document_are_answered_as_it_says(fuzz):
    for operation in fuzz.operations:
        fuzz.documented(operation, GOOD, 30)
    assert len(fuzz.counts) == len(fuzz.operations) == 9
    assert {name for name, found in fuzz.counts.items() if "200" not in found} == set()
    assert ended(fuzz, "POST /api/v1/edit positive") == {"200", "404", "422"}


def test_requests_that_do_not_fit_it_are_refused_in_words(fuzz):
    for operation in fuzz.operations:
        fuzz.documented(operation, BAD, 40)
    with_parameters = {"GET /api/v1/people", "GET /api/v1/person", "POST /api/v1/edit", "POST /api/v1/neighbours"}
    assert {name.removesuffix(" negative") for name in fuzz.counts} == with_parameters
    assert all(sum(found.values()) >= 40 for found in fuzz.counts.values())


def test_requests_that_were_changed_on_the_wire_are_answered_too(fuzz):
    fuzz.wire(600)
    assert ended(fuzz, "on the wire") >= {"200", "400", "403", "404", "405", "413", "421", "422"}
    assert ended(fuzz, "on the wire, with a token") >= {"200", "401", "403"}


def test_damaged_pictures_and_forms_are_refused_in_words(fuzz):
    fuzz.uploads(400)
    assert ended(fuzz, "pictures") == {"200", "415", "422"}
    assert ended(fuzz, "forms") == {"415", "422"}


def fails(*_):
    raise ValueError("of ours")


def tells(*_):
    raise InputError(f"{sys.prefix}/lib cannot be read")


def without_404(*codes):
    return {code: said for code, said in SAID(*codes).items() if code != 404}


SAID = app._said


@pytest.mark.parametrize(
    ("owner", "name", "instead", "operation"),
    [
        (Rows, "search", fails, "people"),
        (Workbench, "edit", fails, "edit"),
        (Rows, "get", tells, "person"),
        (app, "_said", without_404, "person"),
        (app, "about", lambda *_: {"version": 1}, "about"),
    ],
)
def test_a_fault_behind_an_address_is_found(run, monkeypatch, owner, name, instead, operation):
    monkeypatch.setattr(owner, name, instead)
    fuzz = web.Fuzz(run)
    with pytest.raises(FAILED):
        fuzz.documented(of(fuzz, operation), GOOD, 30)


@pytest.mark.parametrize(
    ("owner", "name", "instead"),
    [
        (guards, "_site", lambda origin: urlsplit(origin).netloc),
        (guards, "DIGITS", 10**6),
        (guards.Gate, "_knows", lambda self, headers: True),
        (guards.SecurityHeaders, "__call__", lambda self, *message: self.app(*message)),
    ],
    ids=["origin", "length", "token", "headers"],
)
def test_a_fault_on_the_way_is_found(run, monkeypatch, owner, name, instead):
    monkeypatch.setattr(owner, name, instead)
    with pytest.raises(FAILED):
        web.Fuzz(run).wire(800)


def test_a_decoder_whose_errors_escape_is_found(run, monkeypatch):
    monkeypatch.setattr(app, "decode_upload", lambda content, *_: Image.open(io.BytesIO(content)).convert("RGB"))
    with pytest.raises((*FAILED, OSError, SyntaxError)):
        web.Fuzz(run).uploads(200)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"status": 500}, "answers 500"),
        ({"status": 503}, "answers 503"),
        ({"body": b'{"detail": "File \\"/x.py\\""}'}, "inside"),
        ({"body": b'{"error": "in other words"}'}, "say why"),
        ({"body": b'{"detail": "words"}'}, "say why"),
        ({"body": b'{"detail": ["in", "parts of"]}'}, "say why"),
        ({"seconds": 11.0}, "takes 11.0 s"),
        ({"headers": {"content-type": "application/json"}}, "Without"),
    ],
)
def test_what_is_wrong_with_an_answer_is_said(change, said):
    whole = {"status": 422, "headers": {"content-type": "application/json", **guards.HEADERS}, "seconds": 0.1}
    whole["body"] = b'{"detail": "in words"}'
    check(Answer(**whole))
    with pytest.raises(AssertionError, match=said):
        check(Answer(**whole | change))
