"""The lists of hashes name what the default install consists of, and nothing else is taken."""

import hashlib
import subprocess
import sys
import zipfile

import pytest
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from scripts.supply.closure import ROOT, closure, project
from scripts.supply.hashes import FOLDER, Pin, cpu_hashes, read

LISTS = ("common.txt", "default.txt", "cuda.txt")


def pins(*names):
    return {pin.name: pin for name in names for pin in read((FOLDER / name).read_text(encoding="utf-8"))}


def test_the_list_is_what_is_installed():
    found = pins("common.txt", "default.txt")
    listed = {name: pin.version for name, pin in found.items() if not pin.marker or Marker(pin.marker).evaluate()}
    installed = closure(project()["dependencies"])
    assert listed == {name: of.version.partition("+")[0] for name, of in installed.items()}


def test_the_list_agrees_with_what_is_declared_and_pinned():
    found = pins(*LISTS)
    for text in project()["dependencies"]:
        need = Requirement(text)
        assert need.specifier.contains(found[canonicalize_name(need.name)].version), text
    constraints = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().split())
    constraints = {canonicalize_name(name): version for name, version in constraints.items()}
    shared = found.keys() & constraints.keys()
    assert len(shared) > 40
    assert {name: found[name].version for name in shared} == {name: constraints[name] for name in shared}


@pytest.mark.parametrize("name", LISTS)
def test_no_list_names_a_host(name):
    text = (FOLDER / name).read_text(encoding="utf-8")
    assert "://" not in text
    assert "index-url" not in text
    assert "find-links" not in text


def test_the_cpu_build_of_torch_is_in_the_default_list_and_not_in_the_other():
    default, cuda = pins("default.txt")["torch"], pins("cuda.txt")["torch"]
    assert default.version == cuda.version
    assert cpu_hashes(default.version) <= default.hashes
    assert not default.hashes & cuda.hashes
    assert not any(name.startswith("nvidia-") for name in pins("common.txt", "default.txt"))
    with pytest.raises(ValueError, match=r"no CPU build of torch 0\.0\.1"):
        cpu_hashes("0.0.1")


@pytest.mark.parametrize("line", ["torch==2.13.0", "torch>=2", "--index-url x", "torch==2.13.0 \\\n"])
def test_a_line_without_a_hash_is_refused(line):
    with pytest.raises(ValueError, match=r"neither a pin|No hash"):
        read(line)


def test_a_pin_is_read_as_it_is_written():
    pin = Pin("a-b", "1.2", "sys_platform == 'win32'", frozenset({"0" * 64, "1" * 64}))
    assert read(f"# a comment\n-r common.txt\n{pin}") == [pin]


@pytest.fixture
def release(tmp_path):
    """A wheel of nothing, and its hash."""
    path = tmp_path / "nothing-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("nothing-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: nothing\nVersion: 1.0\n")
        archive.writestr(
            "nothing-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr("nothing-1.0.dist-info/RECORD", "")
    return path, hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("touched", [False, True])
def test_pip_takes_a_list_of_ours_and_refuses_a_file_that_was_changed(release, touched, tmp_path):
    path, found = release
    (tmp_path / "list.txt").write_text(str(Pin("nothing", "1.0", "", frozenset({found}))))
    if touched:
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr("nothing.py", "import os")
    options = ["--no-index", "--find-links", tmp_path, "--require-hashes", "--only-binary", ":all:", "--no-deps"]
    command = [sys.executable, "-m", "pip", "install", "--target", tmp_path / "site", *options]
    done = subprocess.run([*command, "-r", tmp_path / "list.txt"], capture_output=True, text=True)
    assert (done.returncode == 0) != touched, done.stderr
    assert ("DO NOT MATCH THE HASHES" in done.stderr) == touched
