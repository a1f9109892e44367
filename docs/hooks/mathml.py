"""Formulas become MathML while the site is built, so that a page needs neither a script nor a network."""

from __future__ import annotations

import html
import logging
import re
from typing import Any

from latex2mathml.converter import convert

log = logging.getLogger("mkdocs.hooks.mathml")

FORMULA = re.compile(
    r'<(?P<tag>span|div) class="arithmatex">\\(?P<open>[(\[])(?P<tex>.*?)\\[)\]]</(?P=tag)>',
    re.DOTALL,
)
"""What pymdownx.arithmatex makes of $...$ and $$...$$ where `generic` is set."""

PRIME = re.compile(r"<msup>(<mi>[^<]*</mi>)<mi>&#x02032;</mi></msup>")
"""A letter with a prime. As a superscript of what is raised already it is too small to be seen."""


def mathml(tex: str, *, block: bool) -> str:
    """MathML of a formula."""
    formula = convert(tex, display="block" if block else "inline")
    return PRIME.sub(r'<mrow>\1<mo lspace="0" rspace="0">&#x02032;</mo></mrow>', formula)


def on_page_content(content: str, page: Any, **_: Any) -> str:
    """Replace the formulas of a page; one that cannot be converted is a warning, and so an error of the build."""

    def replaced(found: re.Match[str]) -> str:
        tex, block = html.unescape(found["tex"]).strip(), found["open"] == "["
        try:
            formula = mathml(tex, block=block)
        except Exception as error:
            log.warning("%s: no MathML for %r: %s", page.file.src_path, tex, error)
            return found[0]
        left = re.search(r"<m(?:text|i)>\\", formula)
        if left:
            log.warning("%s: a command of %r is not known", page.file.src_path, tex)
        return f'<div class="formula">{formula}</div>' if block else formula

    return FORMULA.sub(replaced, content)
