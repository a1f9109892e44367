"""Benchmarks are run by hand: that what they take from the package is still there is asked here."""

import importlib
import pkgutil

import benchmarks
import pytest

MODULES = [module.name for module in pkgutil.walk_packages(benchmarks.__path__, "benchmarks.")]


def test_there_are_benchmarks():
    assert len(MODULES) > 10


@pytest.mark.parametrize("name", [name for name in MODULES if not name.endswith("__main__")])
def test_it_can_be_imported(name):
    importlib.import_module(name)
