"""The bill of materials is valid, whole, and the same for the same installation."""

import json

import pytest

from scripts.supply.closure import closure, project
from scripts.supply.sbom import bill, validate


@pytest.fixture(scope="module")
def text():
    return bill()


@pytest.fixture(scope="module")
def content(text):
    return json.loads(text)


def test_it_names_everything_that_is_installed_with_licence_and_hashes(content):
    found = {one["name"]: one["version"] for one in content["components"]}
    assert found == {name: of.version for name, of in closure(project()["dependencies"]).items()}
    for one in content["components"]:
        assert one["purl"].startswith(f"pkg:pypi/{one['name']}@")
        assert one["licenses"]
        (files,) = one["externalReferences"]
        assert files["hashes"]
    assert content["metadata"]["component"]["name"] == "fclf"
    assert content["metadata"]["component"]["version"] == project()["version"]


def test_everything_can_be_reached_from_fclf(content):
    edges = {one["ref"]: one.get("dependsOn", []) for one in content["dependencies"]}
    reached, waiting = set(), [content["metadata"]["component"]["bom-ref"]]
    while waiting:
        ref = waiting.pop()
        if ref not in reached:
            reached.add(ref)
            waiting += edges[ref]
    assert reached == set(edges)
    assert len(edges[content["metadata"]["component"]["bom-ref"]]) == len(project()["dependencies"])


def test_it_says_nothing_of_the_machine_and_is_the_same_again(text):
    assert bill() == text
    assert "file:" not in text
    assert "timestamp" not in text


def test_optional_parts_are_added(content):
    more = {one["name"] for one in json.loads(bill(["serve"]))["components"]}
    assert {one["name"] for one in content["components"]} < more
    assert "fastapi" in more


def test_a_damaged_bill_is_refused(content):
    validate(json.dumps(content))
    broken = {**content, "components": [{"name": "torch"}]}
    with pytest.raises(ValueError, match=r"not CycloneDX 1\.6"):
        validate(json.dumps(broken))
