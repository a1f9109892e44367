"""Every mutant can still be made, and the tests that must notice it are still there; `make mutants` runs them."""

import ast
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

from mutants import MUTANTS

ROOT = Path(__file__).parents[2]


@cache
def defined_in(path):
    return {node.name for node in ast.parse(path.read_text(encoding="utf-8")).body if isinstance(node, ast.FunctionDef)}


def test_there_are_thirty_and_no_two_are_the_same():
    assert len(MUTANTS) >= 30
    assert max(Counter(mutant.name for mutant in MUTANTS).values()) == 1
    assert len({(m.file, m.original, m.replacement) for m in MUTANTS}) == len(MUTANTS)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_mutant_applies_compiles_and_has_tests(mutant):
    source = (ROOT / "src" / "fclf" / mutant.file).read_text(encoding="utf-8")
    assert source.count(mutant.original) == 1
    changed = source.replace(mutant.original, mutant.replacement)
    assert ast.dump(ast.parse(changed)) != ast.dump(ast.parse(source)), "it changes what is run"
    assert mutant.tests
    for test in mutant.tests:
        file, _, name = test.partition("::")
        assert name in defined_in(ROOT / "tests" / file), test
