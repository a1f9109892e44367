"""The documentation builds without a warning, asks for nothing from elsewhere, and names what is public."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import fclf

ROOT = Path(__file__).parents[2]
EXTERNAL = re.compile(
    r"""<(?:script|img|iframe|source|audio|video|embed)\b[^>]*\bsrc=["']?(?:https?:)?//[^>]*>"""
    r"""|<link\b(?=[^>]*\brel=["']?(?:stylesheet|preload|preconnect|icon|modulepreload))[^>]*\bhref=["']?(?:https?:)?//[^>]*>"""
    r"""|@import\s+["']?(?:url\()?["']?(?:https?:)?//|url\(["']?(?:https?:)?//[^)]*\)""",
    re.IGNORECASE,
)
"""What a browser loads by itself; links are not among it."""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src"), "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert not done.stderr.strip(), done.stderr
    return folder


def pages(site):
    found = {path.relative_to(site).as_posix(): path.read_text(encoding="utf-8") for path in site.rglob("*.html")}
    assert {"index.html", "tutorial.html", "theory/cure.html", "api/fclf.html"} <= set(found)
    return found


def test_pages_load_nothing_from_elsewhere(site):
    files = {**pages(site), **{str(path): path.read_text(encoding="utf-8") for path in site.rglob("*.css")}}
    assert {name: EXTERNAL.findall(text) for name, text in files.items() if EXTERNAL.search(text)} == {}


@pytest.mark.parametrize(
    ("text", "external"),
    [
        ('<script src="https://cdn.example/x.js"></script>', True),
        ('<link rel="stylesheet" href="//fonts.example/css">', True),
        ('<link href="https://fonts.example" rel="preconnect">', True),
        ('<img alt="" src="http://example/x.png">', True),
        ("@import url(https://fonts.example/css);", True),
        ("a { background: url('https://example/x.png') }", True),
        ('<a href="https://doi.org/10.2307/1412159">', False),
        ('<link rel="stylesheet" href="../styles/extra.css">', False),
        ('<svg xmlns="http://www.w3.org/2000/svg">', False),
    ],
)
def test_what_counts_as_loaded_from_elsewhere(text, external):
    assert bool(EXTERNAL.search(text)) == external


def test_every_formula_is_mathml(site):
    found = pages(site)
    assert not [name for name, text in found.items() if "arithmatex" in text]
    assert found["theory/cure.html"].count('<math xmlns="http://www.w3.org/1998/Math/MathML" display="block"') >= 4
    assert "<math" in found["api/closed.html"]


def test_every_public_name_is_described(site):
    text = "".join(pages(site).values())
    names = set(fclf.__all__) - {"__version__"}
    assert {name for name in names if not re.search(rf'id="fclf\.[\w.]*\b{name}"', text)} == set()


def test_pages_say_nothing_of_machines(site):
    assert not [name for name, text in pages(site).items() if re.search(r"/(?:work|tmp|home|root)/", text)]
