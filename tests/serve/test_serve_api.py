"""The API as a client meets it: what it answers, and what it refuses."""

import asyncio
import contextlib
import json
import struct
import threading
import time
import zlib
from html import unescape

import httpx
import numpy as np
import pytest
from fastapi.testclient import TestClient
from served import VERDICT, content, picture, workbench

from fclf.intended_use import FAILS, FOR, MEANS, NOT_FOR, NOTICE, TERMS
from fclf.serve.app import PAGES, create_app
from fclf.serve.settings import Limits

API = "/api/v1"
TOKEN = "a-token-of-two-dozen-signs"


@pytest.fixture(scope="module")
def bench(run):
    return workbench(*run)


@pytest.fixture(scope="module")
def client(bench):
    with TestClient(create_app(bench, run="trial", verdict=VERDICT), base_url="http://127.0.0.1") as found:
        yield found


def name_of(run):
    return str(run[1].ids[0])


def test_every_address_answers(client, run):
    assert client.get("/healthz").json() == {"status": "ok"}
    about = client.get(f"{API}/about").json()
    assert (about["rows"], about["verdict"]["name"], about["judge"]["kind"]) == (900, "HEALTHY", "judge")
    assert client.get(f"{API}/people", params={"query": "0003"}).json()["ids"] == ["folder/person-0003.jpg"]
    assert client.get(f"{API}/people/random").json()["split"] == "test"
    assert client.get(f"{API}/person", params={"id": name_of(run)}).json()["id"] == name_of(run)
    found = client.post(f"{API}/edit", json={"people": [name_of(run)], "set": {"Smiling": 1}}).json()
    assert len(found["results"]) == 1
    assert found["milliseconds"] > 0
    near = client.post(f"{API}/neighbours", json={"people": [name_of(run)]}).json()
    assert near["results"][0][0]["id"] == name_of(run)
    for path in PAGES:
        assert client.get(path).status_code == 200


def test_metrics_count_by_route_and_not_by_path(client):
    for i in range(3):
        client.get(f"/nothing-{i}")
    text = client.get("/metrics").text
    assert 'fclf_requests_total{method="GET",route="/healthz",status="200"}' in text
    assert "nothing-" not in text
    assert "fclf_request_seconds_bucket" in text


def test_openapi_describes_the_limits_and_no_page_loads_from_elsewhere(client):
    document = client.get("/openapi.json").json()
    edit = document["components"]["schemas"]["EditRequest"]["properties"]
    assert edit["people"]["maxItems"] == 16
    assert edit["strength"]["maximum"] == 3
    assert set(document["paths"][f"{API}/upload"]["post"]["requestBody"]["content"]) == {
        "image/jpeg",
        "image/png",
        "image/webp",
    }
    for path in PAGES:
        text = client.get(path).text.replace("http://www.w3.org/2000/svg", "")
        assert "http://" not in text
        assert "https://" not in text
    assert client.get("/redoc").status_code == 404


def test_the_page_says_what_edits_are_for_without_its_script(client):
    text = unescape(client.get("/").text)
    for lines in ((NOTICE,), FOR, NOT_FOR, MEANS, FAILS, TERMS):
        assert [line for line in lines if line not in text] == []
    assert "<!--" not in text
    assert NOTICE in client.get("/openapi.json").json()["info"]["description"]


@pytest.mark.parametrize("path", ["/", f"{API}/about", "/nothing", f"{API}/person?id=nobody"])
def test_every_answer_has_the_security_headers_and_none_allows_another_site(client, path):
    headers = client.get(path).headers
    assert headers["content-security-policy"].startswith("default-src 'self'")
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert not [name for name in headers if name.startswith("access-control")]


TRICKS = [
    "../../etc/passwd",
    "/etc/passwd",
    "..%2f..%2fetc%2fpasswd",
    "folder/../folder/person-0000.jpg",
    "\x00",
    "C:\\x",
]


@pytest.mark.parametrize("trick", TRICKS)
def test_an_id_is_looked_up_and_never_opened(client, trick, monkeypatch):
    opened = []
    monkeypatch.setattr("builtins.open", lambda *a, **k: opened.append(a) or pytest.fail("a file was opened"))
    monkeypatch.setattr("pathlib.Path.open", lambda *a, **k: opened.append(a) or pytest.fail("a file was opened"))
    assert client.get(f"{API}/person", params={"id": trick}).status_code == 404
    for path in ("edit", "neighbours"):
        answer = client.post(f"{API}/{path}", json={"people": [trick]})
        assert answer.status_code == 404
        assert "No row has the id" in answer.json()["detail"]
    assert opened == []


@pytest.mark.parametrize("path", ["/../pyproject.toml", "/%2e%2e/page.css", "/static/page.css", "/page.css/../../x"])
def test_addresses_are_no_paths(client, path):
    assert client.get(path).status_code == 404


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({}, "people"),
        ({"people": []}, "people"),
        ({"people": ["x"] * 17}, "people"),
        ({"people": ["x" * 257]}, "people.0"),
        ({"people": ["PERSON"], "strength": 4}, "strength"),
        ({"people": ["PERSON"], "strength": "1"}, "strength"),
        ({"people": ["PERSON"], "keep": -0.1}, "keep"),
        ({"people": ["PERSON"], "neighbours": 25}, "neighbours"),
        ({"people": ["PERSON"], "steps": 13}, "steps"),
        ({"people": ["PERSON"], "set": {"Smiling": 2}}, "set.Smiling"),
        ({"people": ["PERSON"], "set": {"Smiling": True}}, "set.Smiling"),
        ({"people": ["PERSON"], "set": {"Smilling": 1}}, "did you mean 'Smiling'"),
        ({"people": ["PERSON"], "unknown": 1}, "unknown"),
    ],
)
def test_what_cannot_be_used_is_refused_in_words(client, run, body, said):
    body = (
        {**body, "people": [name_of(run) if p == "PERSON" else p for p in body["people"]]} if "people" in body else body
    )
    answer = client.post(f"{API}/edit", json=body)
    assert answer.status_code == 422
    assert said in answer.json()["detail"]


@pytest.mark.parametrize(
    "text", ['{"people": ["a"], "strength": NaN}', "{", "[]", '{"people": ["a"], "strength": 1e999}']
)
def test_no_number_that_is_none_and_no_broken_json(client, text):
    answer = client.post(f"{API}/edit", content=text, headers={"content-type": "application/json"})
    assert answer.status_code == 422
    assert isinstance(answer.json()["detail"], str)


def test_bodies_are_bounded_whether_or_not_they_say_how_long_they_are(client):
    most = Limits().body_bytes

    def parts():
        for _ in range(3):
            yield b" " * (most // 2)

    for body in (b" " * (most + 1), parts()):
        answer = client.post(f"{API}/edit", content=body, headers={"content-type": "application/json"})
        assert answer.status_code == 413
    assert (
        client.post(f"{API}/upload", content=b"x" * (most + 1), headers={"content-type": "image/png"}).status_code
        == 422
    )
    answer = client.post(
        f"{API}/upload", content=b"x" * (Limits().upload_bytes + 1), headers={"content-type": "image/png"}
    )
    assert answer.status_code == 413


def send(client, body, kind):
    return client.post(f"{API}/upload", content=body, headers={"content-type": kind})


@pytest.mark.parametrize(("kind", "name"), [("image/jpeg", "JPEG"), ("image/png", "PNG"), ("image/webp", "WEBP")])
def test_pictures_are_taken_and_can_be_edited(client, kind, name):
    person = send(client, content(picture(), name), kind).json()
    assert person["upload"]
    answer = client.post(f"{API}/edit", json={"people": [person["id"]], "set": {"Smiling": 1}})
    assert answer.status_code == 200


@pytest.mark.parametrize("kind", ["image/gif", "text/plain", "application/json", "multipart/form-data", ""])
def test_other_types_are_not(client, kind):
    answer = send(client, content(picture(), "GIF"), kind)
    assert answer.status_code == 415
    assert "image/jpeg" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (content(picture(), "GIF"), "image/png"),
        (content(picture(), "PNG"), "image/jpeg"),
        (content(picture(), "PNG")[:60], "image/png"),
        (b"", "image/png"),
        (b"\xff\xd8\xff" + b"\x00" * 100, "image/jpeg"),
    ],
)
def test_what_is_called_a_picture_and_is_none_is_refused(client, body, kind):
    answer = send(client, body, kind)
    assert answer.status_code == 422
    assert "damaged, or something else" in answer.json()["detail"]


def claiming(side):
    """A small picture whose header says that it is a large one."""
    small = content(picture())
    header = b"IHDR" + struct.pack(">II", side, side) + small[24:29]
    return small[:12] + header + struct.pack(">I", zlib.crc32(header)) + small[33:]


def test_a_picture_of_too_many_pixels_is_refused_before_it_is_decoded(run):
    bench = workbench(*run, limits=Limits(upload_pixels=10_000))
    with TestClient(create_app(bench), base_url="http://127.0.0.1") as client:
        answer = send(client, content(picture((101, 100))), "image/png")
        assert answer.status_code == 422
        assert "101 x 100 pixels" in answer.json()["detail"]
        assert send(client, content(picture((100, 100))), "image/png").status_code == 200
        for side in (200, 12_000, 20_000):  # Pillow warns of the second and refuses the third by itself
            answer = send(client, claiming(side), "image/png")
            assert answer.status_code == 422
            assert "pixels" in answer.json()["detail"]


def test_without_an_encoder_nothing_is_uploaded(run):
    bench = workbench(*run, encoder=None)
    with TestClient(create_app(bench), base_url="http://127.0.0.1") as client:
        answer = send(client, content(picture()), "image/png")
        assert answer.status_code == 422
        assert "--encoder" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("given", "status"),
    [
        (None, 401),
        (f"Bearer {TOKEN}x", 401),
        (f"Basic {TOKEN}", 401),
        ("Bearer ", 401),
        ("Bearer é", 401),
        (f"Bearer {TOKEN}", 200),
        (f"bearer {TOKEN}", 200),
    ],
)
def test_the_token_is_asked_for_before_anything_is_told(bench, given, status):
    headers = {} if given is None else {"authorization": given.encode()}
    with TestClient(create_app(bench, token=TOKEN, loopback=False), base_url="http://example.org") as client:
        for path in (f"{API}/about", f"{API}/people", f"{API}/people/random", "/metrics"):
            answer = client.get(path, headers=headers)
            assert answer.status_code == status
            assert status == 200 or answer.headers["www-authenticate"] == "Bearer"
        assert client.post(f"{API}/edit", json={}, headers=headers).status_code == (422 if status == 200 else 401)
        assert client.get(f"{API}/about", params={"token": TOKEN}).status_code == 401
        for path in [*PAGES, "/healthz", "/openapi.json"]:
            assert client.get(path).status_code == 200


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:8000", 200),
        ("localhost", 200),
        ("LOCALHOST:1", 200),
        ("[::1]:8000", 200),
        ("evil.example", 421),
        ("127.0.0.1.evil.example", 421),
        ("localhost:8000@evil.example", 421),
        ("", 421),
    ],
)
def test_on_the_loopback_only_its_own_names_are_answered(client, host, status):
    assert client.get(f"{API}/about", headers={"host": host}).status_code == status


@pytest.mark.parametrize(
    ("origin", "status"),
    [("http://127.0.0.1", 200), ("http://evil.example", 403), ("null", 403), ("http://127.0.0.1:99", 403)],
)
def test_pages_of_other_sites_are_refused(client, origin, status):
    assert client.get(f"{API}/about", headers={"origin": origin}).status_code == status


def test_who_comes_too_many_is_told_to_come_again_and_the_others_are_answered(run, monkeypatch):
    bench = workbench(*run, limits=Limits(workers=1, waiting=1))
    free, plain = threading.Event(), bench.edit

    def slow(asked):
        free.wait(10)
        return plain(asked)

    monkeypatch.setattr(bench, "edit", slow)
    app = create_app(bench)

    async def crowd():
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            body = {"people": [name_of(run)], "set": {}}
            let_in = [asyncio.create_task(client.post(f"{API}/edit", json=body)) for _ in range(2)]
            await asyncio.sleep(0.1)
            refused = await client.post(f"{API}/edit", json=body)
            healthy = await client.get("/healthz")
            free.set()
            return refused, healthy, await asyncio.gather(*let_in), await client.post(f"{API}/edit", json=body)

    refused, healthy, others, after = asyncio.run(crowd())
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
    assert healthy.status_code == 200
    assert [one.status_code for one in others] == [200, 200]
    assert after.status_code == 200
    app.state.queue.close()


def test_an_answer_that_takes_too_long_is_given_up(run, monkeypatch):
    bench = workbench(*run, limits=Limits(work_seconds=0.05))
    monkeypatch.setattr(bench, "edit", lambda asked: time.sleep(0.3))
    with TestClient(create_app(bench), base_url="http://127.0.0.1") as client:
        assert client.post(f"{API}/edit", json={"people": ["x"]}).status_code == 504


def answered(app, receive):
    """What is sent to a client whose body comes from `receive`."""
    sent = []

    async def send(message):
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": f"{API}/edit",
        "headers": [(b"host", b"localhost"), (b"content-type", b"application/json")],
        "query_string": b"",
    }
    asyncio.run(asyncio.wait_for(app(scope, receive, send), 30))
    return sent


def test_a_body_that_does_not_come_is_not_waited_for(run):
    async def receive():
        await asyncio.sleep(60)

    app = create_app(workbench(*run, limits=Limits(body_seconds=0.05)))
    assert answered(app, receive)[0]["status"] == 408


def test_nothing_is_done_for_a_client_that_went_away_before_the_end_of_its_body(run, monkeypatch):
    bench = workbench(*run)
    asked = []
    monkeypatch.setattr(bench, "edit", asked.append)
    body = json.dumps({"people": [str(run[1].ids[0])]}).encode()

    def client(*messages):
        left = list(messages)

        async def receive():
            return left.pop(0) if left else {"type": "http.disconnect"}

        return receive

    begun = {"type": "http.request", "body": body, "more_body": True}
    assert answered(create_app(bench), client(begun)) == []
    assert asked == []
    with contextlib.suppress(Exception):  # of the answer, which this bench has not
        answered(create_app(bench), client(begun, {"type": "http.request", "body": b"", "more_body": False}))
    assert len(asked) == 1


def test_the_same_request_has_the_same_answer(client, run):
    body = {"people": run[1].ids[:4].tolist(), "set": {"Male": 1}, "strength": 1.3}
    first, second = (client.post(f"{API}/edit", json=body).json()["results"] for _ in range(2))
    assert first == second
    alone = [client.post(f"{API}/edit", json={**body, "people": [one]}).json()["results"][0] for one in body["people"]]
    for together, single in zip(first, alone, strict=True):
        np.testing.assert_allclose(together["angle"], single["angle"], atol=1e-3)
        assert [n["id"] for n in together["neighbours"]] == [n["id"] for n in single["neighbours"]]
