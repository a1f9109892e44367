"""The version is written in pyproject.toml and nowhere else."""

import re
from importlib.metadata import PackageNotFoundError

import pytest
from packaging.version import Version

import fclf
from scripts.supply.closure import ROOT, project


def test_the_package_says_what_pyproject_says():
    assert fclf.__version__ == project()["version"]
    assert "version" not in project().get("dynamic", [])
    Version(fclf.__version__)


def test_no_module_writes_it_down():
    version = re.escape(project()["version"])
    held = [path for path in (ROOT / "src").rglob("*.py") if re.search(rf"[\"']{version}[\"']", path.read_text())]
    assert held == []


def test_a_source_tree_that_is_not_installed_says_so(monkeypatch):
    def nothing(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr("importlib.metadata.version", nothing)
    assert fclf.__version__ == "0+uninstalled"


def test_the_changelog_is_in_the_form_that_it_names():
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    releases = re.findall(r"^## (.+)$", text, re.MULTILINE)
    assert releases[0] == "[Unreleased]"
    dated = re.compile(r"\[\d+\.\d+\.\d+\] - \d{4}-\d{2}-\d{2}")
    assert [one for one in releases[1:] if not dated.fullmatch(one)] == []
    kinds = set(re.findall(r"^### (.+)$", text, re.MULTILINE))
    assert kinds <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


@pytest.mark.parametrize("name", sorted(set(fclf.__all__)))
def test_every_public_name_is_there(name):
    assert getattr(fclf, name) is not None
