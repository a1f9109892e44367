"""Write the bill of materials of the default install, in CycloneDX's JSON (`make sbom`).

`python -m scripts.supply.sbom OUTPUT [EXTRA ...]`: every distribution that an installation of fclf consists of, with
its version, licence, what it needs, and the hashes of its wheels where `requirements/` has them. The same installation
gives the same bytes.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from importlib.metadata import Distribution
from pathlib import Path
from uuid import NAMESPACE_URL, uuid5

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import ExternalReference, ExternalReferenceType, HashAlgorithm, HashType, XsUri
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packageurl import PackageURL
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from fclf.files import atomic_write
from scripts.supply.closure import closure, project
from scripts.supply.hashes import FOLDER, read
from scripts.supply.licences import Kind, licence

__all__ = ["bill", "validate"]


def bill(extras: Sequence[str] = ()) -> str:
    """The bill of the default install, and of optional parts.

    Raises:
        ValueError: if what was made is no valid CycloneDX.
    """
    about = project()
    named = [*about["dependencies"], *(need for extra in extras for need in about["optional-dependencies"][extra])]
    hashes = {pin.name: pin for name in ("common.txt", "default.txt") for pin in read((FOLDER / name).read_text())}
    parts = {}
    for name, of in closure(named).items():
        pin = hashes.get(name)
        found = pin.hashes if pin and pin.version == of.version.partition("+")[0] else frozenset()
        parts[name] = _component(of, found)
    purl = PackageURL("pypi", None, about["name"], about["version"])
    itself = Component(
        name=about["name"],
        version=about["version"],
        type=ComponentType.LIBRARY,
        description=about["description"],
        licenses=[LicenseFactory().make_from_string(about["license"])],
        purl=purl,
        bom_ref=purl.to_string(),
    )
    bom = Bom(components=parts.values(), serial_number=uuid5(NAMESPACE_URL, f"{purl} {','.join(sorted(extras))}"))
    bom.metadata.component = itself
    bom.register_dependency(itself, [parts[_name(need)] for need in named if _name(need) in parts])
    for name, of in closure(named).items():
        bom.register_dependency(parts[name], [parts[need] for need in closure_of(of) if need in parts])
    text = _without_time(bom)
    validate(text)
    return text


def closure_of(of: Distribution) -> list[str]:
    """Names that a distribution needs by itself, without any extra."""
    needs = [Requirement(text) for text in of.requires or ()]
    return [_name(str(need)) for need in needs if need.marker is None or need.marker.evaluate({"extra": ""})]


def validate(text: str) -> None:
    """Raise `ValueError` where a text is no CycloneDX 1.6."""
    if error := JsonStrictValidator(SchemaVersion.V1_6).validate_str(text):
        raise ValueError(f"not CycloneDX 1.6: {error}")


def _component(of: Distribution, hashes: frozenset[str]) -> Component:
    name = canonicalize_name(of.metadata["Name"])
    purl = PackageURL("pypi", None, name, of.version)
    found = licence(of)
    make = LicenseFactory().make_from_string if found.kind is not Kind.UNKNOWN else LicenseFactory().make_with_name
    files = ExternalReference(
        type=ExternalReferenceType.DISTRIBUTION,
        url=XsUri(purl.to_string()),
        comment="wheels of this release, of which one is installed",
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=one) for one in hashes],
    )
    return Component(
        name=name,
        version=of.version,
        type=ComponentType.LIBRARY,
        licenses=[make(found.expression)],
        purl=purl,
        bom_ref=purl.to_string(),
        external_references=[files] if hashes else [],
    )


def _name(requirement: str) -> str:
    return canonicalize_name(Requirement(requirement).name)


def _without_time(bom: Bom) -> str:
    content = json.loads(JsonV1Dot6(bom).output_as_string())
    del content["metadata"]["timestamp"]
    return json.dumps(content, indent=2, sort_keys=True) + "\n"


def main() -> None:
    """Write it to the file that was named."""
    if len(sys.argv) < 2:
        raise SystemExit("usage: python -m scripts.supply.sbom OUTPUT [EXTRA ...]")
    with atomic_write(Path(sys.argv[1]), "w") as file:
        file.write(bill(sys.argv[2:]))


if __name__ == "__main__":
    main()
