"""What is published is built, installed where nothing else of fclf is, and used."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

from scripts.supply.closure import ROOT, project

NOT_SHIPPED = re.compile(r"(^|/)(tests?|benchmarks|docs|scripts|results)/|\.(npz|parquet|pt|pkl)$|conftest")
"""By the names in the archive, without the folder of the sources: `fclf/data` is code."""


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The source distribution, and the wheel that was built from it, of a copy of the checkout."""
    folder = tmp_path_factory.mktemp("built")
    leave = shutil.ignore_patterns(".*", "__pycache__", "*.egg-info", "results", "build", "dist", "site")
    shutil.copytree(ROOT, folder / "checkout", ignore=leave)
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", folder / "dist", folder / "checkout"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    files = sorted(path.name for path in (folder / "dist").iterdir())
    version = project()["version"]
    assert files == [f"fclf-{version}-py3-none-any.whl", f"fclf-{version}.tar.gz"]
    return folder / "dist" / files[0], folder / "dist" / files[1]


def shipped(wheel):
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def sources():
    """Every file of the package, by its name in the wheel."""
    found = (path.relative_to(ROOT / "src").as_posix() for path in (ROOT / "src" / "fclf").rglob("*") if path.is_file())
    return {name for name in found if "__pycache__" not in name}


def test_the_wheel_holds_every_file_of_the_package_and_no_other(built):
    names = shipped(built[0])
    assert {name for name in names if ".dist-info/" not in name} == sources()
    kinds = {Path(name).suffix for name in names}
    assert {".yaml", ".safetensors", ".html", ".css", ".js", ".svg", ".json", ".typed"} <= kinds
    assert "fclf/py.typed" in names
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)


def test_neither_archive_holds_tests_data_or_benchmarks(built):
    with tarfile.open(built[1]) as archive:
        source = {name.partition("/")[2].removeprefix("src/") for name in archive.getnames()}
    assert sources() <= source
    assert {name for name in source | shipped(built[0]) if NOT_SHIPPED.search(name)} == set()


@pytest.mark.parametrize(
    "name", ["tests/test_cli.py", "benchmarks/edit.py", "fclf/faces.npz", "fclf/tests/conftest.py"]
)
def test_what_counts_as_not_shipped(name):
    assert NOT_SHIPPED.search(name)


@pytest.fixture(scope="module")
def elsewhere(built, tmp_path_factory):
    """A new environment with the wheel in it and an empty folder to work in; other packages are those of this one."""
    folder = tmp_path_factory.mktemp("elsewhere")
    venv.create(folder / "venv", with_pip=False)
    python = folder / "venv" / "bin" / "python"
    options = ["--no-deps", "--no-index", "--quiet", "--disable-pip-version-check"]
    install = [sys.executable, "-m", "pip", "--python", python, "install", *options, built[0]]
    done = subprocess.run(install, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    # Found after the wheel, and links in it, such as that of an editable install, are not followed.
    site = next((folder / "venv" / "lib").glob("python*")) / "site-packages"
    (site / "others.pth").write_text(sysconfig.get_path("purelib") + "\n")
    (folder / "work").mkdir()
    return folder


def run(elsewhere, *command):
    """One command of the new environment, as somebody types it who has no checkout."""
    left_out = {"PYTHONPATH", "VIRTUAL_ENV", "PYTHONWARNINGS", "PYTEST_CURRENT_TEST"}
    environment = {name: value for name, value in os.environ.items() if name not in left_out}
    program = elsewhere / "venv" / "bin" / command[0]
    done = subprocess.run(
        [program, *command[1:]],
        cwd=elsewhere / "work",
        env={**environment, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


PLANT = """
import fclf
from fclf.autoencoder import load_encoder
from fclf.data.planted import planted
assert fclf.__file__.startswith(PREFIX), fclf.__file__
load_encoder()
planted(400, 8)[0].save("faces.npz")
"""


def test_the_wheel_trains_and_edits_where_there_is_no_checkout(elsewhere):
    assert run(elsewhere, "fclf", "--version") == f"fclf {project()['version']}\n"
    recipes = {path.stem for path in (ROOT / "src" / "fclf" / "recipes").glob("*.yaml")}
    listed = run(elsewhere, "fclf", "config", "list")
    assert {name for name in recipes if name in listed} == recipes
    run(elsewhere, "python", "-c", PLANT.replace("PREFIX", repr(str(elsewhere))))
    small = ["--set", "training.num_epochs=1", "--set", "model.hidden_dim=8"]
    data = ["--embeddings", "faces.npz"]
    run(elsewhere, "fclf", "train", *data, "--config", "fclf_config", *small, "--output-dir", "run")
    run(elsewhere, "fclf", "edit", *data, "--checkpoint", "run", "--set", "Smiling=1", "--output", "out.npz")
    assert (elsewhere / "work" / "out.npz").stat().st_size > 0
