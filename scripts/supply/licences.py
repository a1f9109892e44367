"""Write `docs/licences.md`: under which licences an installation of fclf comes (`make licences`).

Read from the metadata of what is installed, which is what its authors say of it. Nothing is looked up.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from importlib.metadata import Distribution

from license_expression import ExpressionError, get_spdx_licensing

from fclf.files import atomic_write
from scripts.supply.closure import ROOT, closure, project

__all__ = ["EXTRAS", "PAGE", "Kind", "Licence", "bundled", "kind", "licence", "page", "section"]

PAGE = ROOT / "docs" / "licences.md"
EXTRAS = ("tensorboard", "viz", "clip", "onnx", "hub", "faiss", "ray", "serve")
"""Those that a user may install; `docs` and `dev` are tools of whoever works on fclf."""

PERMISSIVE = frozenset(
    {"0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "BSL-1.0", "CC0-1.0", "CNRI-Python", "HPND", "ISC", "MIT"}
    | {"MIT-CMU", "PSF-2.0", "Unlicense", "Zlib"}
)
WEAK = re.compile(r"(LGPL|MPL|EPL|CDDL)-")
STRONG = re.compile(r"(A?GPL|OSL|EUPL|SSPL|CC-BY-SA|CC-BY-NC)-")
LINKING = frozenset({"LLVM-exception", "GCC-exception-3.1", "Classpath-exception-2.0"})
"""Exceptions that only ever permit more."""

NAMES = {
    "apache 2.0": "Apache-2.0",
    "apache 2.0 license": "Apache-2.0",
    "apache license": "Apache-2.0",
    "apache software license": "Apache-2.0",
    "3-clause bsd license": "BSD-3-Clause",
    "bsd 3-clause license": "BSD-3-Clause",
    "bsd 2-clause license": "BSD-2-Clause",
    "isc license": "ISC",
    "isc license (iscl)": "ISC",
    "mit license": "MIT",
    "mozilla public license 2.0 (mpl 2.0)": "MPL-2.0",
    "python software foundation license": "PSF-2.0",
}
"""Names that authors use for what SPDX names otherwise."""
LIBRARY = re.compile(r"(lib[\w+.-]+?)(?:-[0-9a-f]{6,}(?:-[0-9a-f]{6,})?)?\.(?:so|dylib)")
"""A file of a library; the tag that a wheel adds to its name is left out."""
BSD = frozenset({"bsd", "bsd license"})
"""Names that leave open which."""


class Kind(StrEnum):
    """What a licence asks of whoever passes the work on."""

    PERMISSIVE = "permissive"
    WEAK = "weak copyleft"
    STRONG = "copyleft or restricted"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Licence:
    """An SPDX expression, or what was found instead, and where it was found."""

    expression: str
    source: str

    @property
    def kind(self) -> Kind:
        """Of the whole expression."""
        return kind(self.expression)


def licence(of: Distribution) -> Licence:
    """What a distribution says: its expression, else its short licence field, else its classifiers, else its text."""
    meta = of.metadata
    if found := meta.get("License-Expression"):
        return Licence(found, "expression")
    stated = (meta.get("License") or "").strip()
    if stated and len(stated) < 80 and (found := _spdx(stated, of)):
        return Licence(found, "licence field")
    classifiers = [one for one in meta.get_all("Classifier") or [] if one.startswith("License :: ")]
    found_all = [_spdx(one.rpartition(" :: ")[2], of) for one in classifiers]
    if found_all and all(found_all):
        return Licence(" AND ".join(sorted({one for one in found_all if one})), "classifier")
    return Licence((stated.splitlines() or [""])[0][:60] or "none stated", "nothing that SPDX knows")


_spdx_names = cache(get_spdx_licensing)  # reading the list of names takes a fifth of a second


@cache
def kind(expression: str) -> Kind:
    """Kind of an expression: a choice is as free as its freest part, a sum as strict as its strictest."""
    try:
        tree = _spdx_names().parse(expression, validate=True, strict=True)
    except ExpressionError:
        return Kind.UNKNOWN
    return _kind(tree)


def _kind(tree: object) -> Kind:
    order = list(Kind)
    parts = getattr(tree, "args", ())
    if parts and tree.__class__.__name__ in {"AND", "OR"}:
        kinds = [_kind(part) for part in parts]
        return (min if tree.__class__.__name__ == "OR" else max)(kinds, key=order.index)
    name, _, exception = str(tree).partition(" WITH ")
    if name in PERMISSIVE and (not exception or exception in LINKING):
        return Kind.PERMISSIVE
    if WEAK.match(name):
        return Kind.WEAK
    return Kind.STRONG if STRONG.match(name) else Kind.UNKNOWN


def _spdx(name: str, of: Distribution) -> str | None:
    lower = name.lower()
    if lower in NAMES:
        return NAMES[lower]
    if lower in BSD:
        return _which_bsd(of)
    return name if kind(name) is not Kind.UNKNOWN else None


def _which_bsd(of: Distribution) -> str | None:
    """By the clause on names, which the one has and the other has not, in the licence that comes along."""
    files = [file for file in of.files or () if re.search(r"(?i)licen[cs]e|copying", file.name)]
    for file in sorted(files, key=lambda file: len(file.parts)):
        text = " ".join(file.locate().read_text(encoding="utf-8", errors="replace").lower().split())
        if "redistribution and use in source and binary forms" in text:
            return "BSD-3-Clause" if re.search("neither the name|names of its contributors", text) else "BSD-2-Clause"
    return None


def bundled(of: Distribution) -> list[str]:
    """Names of the compiled libraries of others that a wheel brings along beside its own modules."""
    found = set()
    for file in of.files or ():
        beside = file.parts[1:2] == ("lib",) or any(part.endswith((".libs", ".dylibs")) for part in file.parts[:-1])
        if beside and (match := LIBRARY.match(file.name)):
            found.add(match[1])
    return sorted(found)


def section(distributions: Mapping[str, Distribution]) -> str:
    """A table of distributions."""
    lines = ["| package | version | licence | said by | kind |", "|---|---|---|---|---|"]
    for of in distributions.values():
        found = licence(of)
        version = of.version.partition("+")[0]
        lines.append(f"| {of.metadata['Name']} | {version} | {found.expression} | {found.source} | {found.kind} |")
    return "\n".join(lines) + "\n"


def page() -> str:
    """The whole page."""
    default = closure(project()["dependencies"])
    parts = [HEAD, section(default)]
    libraries = defaultdict(list)
    for name, of in default.items():
        for library in bundled(of):
            libraries[name].append(f"`{library}`")
    parts.append(LIBRARIES)
    parts += [f"- {name}: {', '.join(found)}\n" for name, found in libraries.items()]
    parts.append("\n## Optional parts\n\nWhat each brings along beside the default install.\n")
    for extra in EXTRAS:
        more = closure(project()["optional-dependencies"][extra])
        parts += [f"\n### `fclf[{extra}]`\n\n", section({name: of for name, of in more.items() if name not in default})]
    return "".join(parts)


HEAD = """\
# Licences of what is installed

fclf is under the MIT licence; what it needs is installed beside it, not copied into it. `make licences` writes this
page from the metadata of the installed versions, on Linux with PyTorch for the CPU. A test keeps the page true, and
refuses a default install with anything but permissive licences.

*said by*: the SPDX expression of the package, its licence field, or its classifiers; of *BSD* which one, by the text
that comes along.

## The default install

"""
LIBRARIES = """
PyPI's PyTorch for Linux needs NVIDIA's libraries besides (`requirements/cuda.txt`); those are under NVIDIA's own terms.

### Libraries inside wheels

Wheels bring compiled libraries of others along; their licences are in the metadata folder of each wheel. Of the
runtimes of the GNU compilers among them `libgfortran` and `libgomp` are under the GPL with the GCC runtime library
exception, which lets programs of any licence use them, and `libquadmath` is under the LGPL. None of them is in fclf's
own wheel.

"""


def main() -> None:
    """Write the page."""
    with atomic_write(PAGE, "w") as file:
        file.write(page())


if __name__ == "__main__":
    main()
