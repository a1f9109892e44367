"""No licence comes into the default install unnoticed."""

from email.message import Message
from types import SimpleNamespace

import pytest

from scripts.supply.closure import closure, installed, project
from scripts.supply.licences import EXTRAS, PAGE, Kind, bundled, kind, licence, page, section

WEAK_AND_KNOWN = {"certifi", "tqdm"}
"""Under the MPL, in optional parts; used as they come, which is all that it asks of us."""


def said(expression=None, field=None, classifiers=(), files=()):
    """A distribution that says this of itself."""
    meta = Message()
    for name, value in (("License-Expression", expression), ("License", field)):
        if value:
            meta[name] = value
    for one in classifiers:
        meta["Classifier"] = f"License :: OSI Approved :: {one}"
    return SimpleNamespace(metadata=meta, files=list(files), version="1.0")


def test_the_default_install_is_permissive():
    kinds = {name: licence(of).kind for name, of in closure(project()["dependencies"]).items()}
    assert len(kinds) > 40
    assert {name for name, found in kinds.items() if found is not Kind.PERMISSIVE} == set()


@pytest.mark.parametrize("extra", EXTRAS)
def test_an_optional_part_brings_nothing_unknown(extra):
    needs = project()["optional-dependencies"][extra]
    if not installed(needs):
        pytest.skip(f"fclf[{extra}] is not installed")
    found = {name: licence(of).kind for name, of in closure(needs).items()}
    assert {name for name, one in found.items() if one not in (Kind.PERMISSIVE, Kind.WEAK)} == set()
    assert {name for name, one in found.items() if one is Kind.WEAK} <= WEAK_AND_KNOWN


def test_the_extras_of_the_page_are_those_that_a_user_may_install():
    assert set(EXTRAS) == set(project()["optional-dependencies"]) - {"dev", "docs", "fuzz", "supply"}


def test_the_page_is_true():
    stale = "docs/licences.md is of other versions: run `make licences`"
    text = PAGE.read_text(encoding="utf-8")
    default = closure(project()["dependencies"])
    assert section(default) in text, stale
    for extra in EXTRAS:
        needs = project()["optional-dependencies"][extra]
        if installed(needs):
            more = {name: of for name, of in closure(needs).items() if name not in default}
            assert f"`fclf[{extra}]`\n\n{section(more)}" in text, stale
    if all(installed(project()["optional-dependencies"][extra]) for extra in EXTRAS):
        assert page() == text, stale


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("MIT", Kind.PERMISSIVE),
        ("BSD-3-Clause AND 0BSD AND MIT", Kind.PERMISSIVE),
        ("Apache-2.0 WITH LLVM-exception", Kind.PERMISSIVE),
        ("GPL-3.0-only OR MIT", Kind.PERMISSIVE),
        ("MPL-2.0 AND MIT", Kind.WEAK),
        ("LGPL-2.1-or-later", Kind.WEAK),
        ("MIT AND GPL-3.0-only", Kind.STRONG),
        ("GPL-3.0-only WITH GCC-exception-3.1", Kind.STRONG),
        ("(MIT OR Apache-2.0) AND AGPL-3.0-only", Kind.STRONG),
        ("CC-BY-NC-4.0", Kind.STRONG),
        ("Proprietary", Kind.UNKNOWN),
        ("MIT AND LicenseRef-ours", Kind.UNKNOWN),
        ("MIT GPL", Kind.UNKNOWN),
        ("", Kind.UNKNOWN),
    ],
)
def test_the_kind_of_an_expression(expression, expected):
    assert kind(expression) is expected


@pytest.mark.parametrize(
    ("of", "expected", "source"),
    [
        (said("GPL-3.0-only", "MIT", ["MIT License"]), "GPL-3.0-only", "expression"),
        (said(None, "Apache 2.0"), "Apache-2.0", "licence field"),
        (said(None, "The text of a licence " * 10, ["MIT License"]), "MIT", "classifier"),
        (said(None, None, ["MIT License", "Apache Software License"]), "Apache-2.0 AND MIT", "classifier"),
    ],
)
def test_where_a_licence_is_read_off(of, expected, source):
    found = licence(of)
    assert (found.expression, found.source) == (expected, source)


@pytest.mark.parametrize(
    "of",
    [
        said(),
        said(None, "UNKNOWN"),
        said(None, "see the website"),
        said(None, "BSD"),  # which one, without a text?
        said(None, None, ["MIT License", "GNU General Public License v3 (GPLv3)"]),
    ],
)
def test_what_does_not_say_a_licence_is_unknown(of):
    assert licence(of).kind is Kind.UNKNOWN


def test_the_text_says_which_bsd():
    found = {name: licence(of).expression for name, of in closure(["numba", "sympy"]).items()}
    assert (found["numba"], found["sympy"]) == ("BSD-2-Clause", "BSD-3-Clause")


def test_libraries_inside_wheels_are_seen():
    assert "libgfortran" in bundled(closure(["scipy"])["scipy"])
    assert bundled(closure(["rich"])["rich"]) == []
