"""What generated requests have found in the API, each by itself: refusals in words, and none of them undocumented."""

import json
import math

import numpy as np
import pytest
from fastapi.testclient import TestClient
from served import DIM, ColourEncoder, content, picture, workbench

from fclf.serve.app import create_app

API = "/api/v1"
JSON = {"content-type": "application/json"}


@pytest.fixture(scope="module")
def bench(run):
    return workbench(*run)


@pytest.fixture(scope="module")
def client(bench):
    with TestClient(create_app(bench), base_url="http://127.0.0.1", raise_server_exceptions=False) as found:
        yield found


@pytest.mark.parametrize("origin", ["http://[", "http://[::1", "http://127.0.0.1]", "//[", "", "null"])
def test_an_origin_that_is_no_address_is_another_site(client, origin):
    answer = client.get(f"{API}/about", headers={"origin": origin})
    assert answer.status_code == 403
    assert "other sites" in answer.json()["detail"]


@pytest.mark.parametrize("length", ["1" * 5000, "9" * 21, "-1", "1e3", "²", ""])
def test_a_length_that_cannot_be_one_is_refused(client, length):
    answer = client.get(f"{API}/about", headers={"content-length": length.encode()})
    assert answer.status_code == 413
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_an_error_of_ours_is_said_in_words_and_tells_nothing_of_the_inside(run, monkeypatch):
    bench = workbench(*run)

    def broken(name):
        raise RuntimeError("of the inside")

    monkeypatch.setattr(bench, "person", broken)
    with TestClient(create_app(bench), base_url="http://127.0.0.1", raise_server_exceptions=False) as client:
        answer = client.get(f"{API}/person", params={"id": "x"})
        assert answer.status_code == 500
        assert answer.json()["detail"].startswith("Something went wrong in the server")
        assert "inside" not in answer.text
        assert answer.headers["content-security-policy"].startswith("default-src 'self'")
        assert 'status="500"' in client.get("/metrics").text
    with (
        TestClient(create_app(bench), base_url="http://127.0.0.1") as client,
        pytest.raises(RuntimeError, match="of the inside"),
    ):
        client.get(f"{API}/person", params={"id": "x"})  # the log hears of it


@pytest.mark.parametrize("path", [f"{API}/people/", f"{API}/about/", "/docs/", "/healthz/"])
def test_an_address_with_a_slash_too_many_is_no_address(client, path):
    answer = client.get(path, follow_redirects=False)
    assert answer.status_code == 404
    assert "location" not in answer.headers


def test_a_key_has_the_name_that_is_documented_and_no_other(client, run):
    people = [str(run[1].ids[0])]
    assert client.post(f"{API}/edit", json={"people": people, "set": {"Smiling": 1}}).status_code == 200
    answer = client.post(f"{API}/edit", json={"people": people, "assign": {"Smiling": 1}})
    assert answer.status_code == 422
    assert "assign" in answer.json()["detail"]


@pytest.mark.parametrize("body", ["", "null", "[]", '"x"'])
def test_a_body_that_is_no_object_is_named(client, body):
    answer = client.post(f"{API}/edit", content=body, headers=JSON)
    assert answer.status_code == 422
    assert answer.json()["detail"].startswith("body: ")


@pytest.mark.parametrize(
    "body",
    [b'{"people": ["\xff"]}', b"[" * 60_000, b'{"people": ["x"], "strength": 1' + b"0" * 5000 + b"}"],
    ids=["no-utf-8", "nested", "digits"],
)
def test_a_body_that_cannot_be_read_is_refused_as_documented(client, body):
    answer = client.post(f"{API}/edit", content=body, headers=JSON)
    assert answer.status_code == 400
    assert "parsing the body" in answer.json()["detail"]


@pytest.mark.parametrize("scale", [5e-324, 1e-160, 1e-3, 1e200, 1.7e308])
def test_an_embedding_is_a_direction_however_long_it_is(client, run, scale):
    z = run[1].embeddings[3].astype(np.float64)
    z = np.sign(z) if scale < 1e-300 else z  # the smallest number there is has no half
    unit = z / np.linalg.norm(z)
    answers = [
        client.post(f"{API}/neighbours", json={"embeddings": [values.tolist()]}).json()["results"]
        for values in (unit, z / np.abs(z).max() * scale)
    ]
    assert [n["id"] for n in answers[0][0]] == [n["id"] for n in answers[1][0]]
    for one, other in zip(*(found[0] for found in answers), strict=True):
        assert math.isclose(one["cosine"], other["cosine"], abs_tol=2e-4)


def test_an_embedding_of_zeros_or_of_another_width_is_refused_with_what_came(client):
    for values, said in (([0.0] * DIM, f"{DIM} numbers, 0 of them not 0"), ([1.0, 0.0], "2 numbers, 1 of them not 0")):
        answer = client.post(f"{API}/neighbours", json={"embeddings": [values]})
        assert answer.status_code == 422
        assert said in answer.json()["detail"]


def test_an_encoder_that_gives_zeros_is_refused_in_words(run):
    class Zeros(ColourEncoder):
        def encode(self, images):
            return np.zeros((len(images), DIM), np.float32)

    with TestClient(create_app(workbench(*run, encoder=Zeros())), base_url="http://127.0.0.1") as client:
        answer = client.post(f"{API}/upload", content=content(picture()), headers={"content-type": "image/png"})
    assert answer.status_code == 422
    assert "zeros" in answer.json()["detail"]


def test_every_refusal_is_documented_for_every_route(client):
    document = client.get("/openapi.json").json()
    for path, methods in document["paths"].items():
        for operation in methods.values():
            refusals = {code: said for code, said in operation["responses"].items() if code != "200"}
            always = {"403", "408", "413", "421"} | ({"401"} if path != "/healthz" else set())
            assert always <= refusals.keys(), path
            kinds = [json.dumps(said["content"]) for said in refusals.values()]
            assert all("#/components/schemas/Failure" in kind for kind in kinds), path
    edit = document["paths"][f"{API}/edit"]["post"]["responses"]
    assert "400" in edit
    assert "Retry-After" in edit["503"]["headers"]
    assert set(document["paths"]["/metrics"]["get"]["responses"]["200"]["content"]) == {"text/plain"}


def test_an_integer_may_be_written_with_a_point_as_the_document_allows(client, run):
    people = [str(run[1].ids[0])]
    whole = {"people": people, "set": {"Smiling": 1.0}, "neighbours": 2.0, "steps": 3.0}
    answer = client.post(f"{API}/edit", json=whole)
    assert answer.status_code == 200
    assert len(answer.json()["results"][0]["neighbours"]) == 2
    for key, value in (("neighbours", 2.5), ("neighbours", "2"), ("neighbours", True), ("steps", 1e308)):
        assert client.post(f"{API}/edit", json={**whole, key: value}).status_code == 422
