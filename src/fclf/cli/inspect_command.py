"""`fclf inspect`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fclf.cli.common import JsonOption, Labels, LabelsOption, console, print_json
from fclf.cli.loading import LabelsFromOption, NormalizeOption, PartitionOption, join_labels
from fclf.errors import InputError

if TYPE_CHECKING:
    from fclf.data.celeba import BrokenImage, CelebA
    from fclf.data.inspection import Inspection


def inspect(
    file: Annotated[Path, typer.Argument(metavar="FILE|FOLDER", help="Embeddings, or a folder of CelebA.")],
    labels_from: LabelsFromOption = None,
    partition: PartitionOption = None,
    attributes: Annotated[str | None, typer.Option(metavar="A,B,...", help="Look at these attributes only.")] = None,
    labels: LabelsOption = Labels.binary,
    normalize: NormalizeOption = False,
    images: Annotated[bool, typer.Option("--images", help="Decode every image and name the broken ones.")] = False,
    seed: Annotated[int, typer.Option(min=0, help="Of the split, where the file has none.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Show what a file of embeddings holds, what is wrong with it, and what to type.

    Example: fclf inspect train_embeddings.pt --labels-from celeba --attributes Smiling,Young,Male
    """
    from fclf.data.celeba import CelebA

    if file.is_dir():
        if labels_from or partition or attributes or normalize:
            raise InputError(f"{file} is a folder: type fclf inspect {file} with --images or --json only.")
        _inspect_folder(CelebA.load(file), images, as_json)
        return
    folder = None if labels_from is None else CelebA.load(labels_from)
    if folder is None and (images or partition):
        raise InputError("--images and --partition need a folder of CelebA; add --labels-from FOLDER.")
    from fclf.data import formats
    from fclf.data.embeddings import EmbeddingSet
    from fclf.data.inspection import inspect as examine

    arrays = formats.read(file, "Embeddings")
    data = EmbeddingSet.from_arrays(arrays, labels=labels.value, normalize=normalize, source=str(file))
    origin = None
    if folder is not None:
        joined = join_labels(data, folder, file, partition=partition, split_seed=seed)
        data = joined.data
        origin = f"CelebA's partition, judge rows drawn with seed {seed}" if joined.split_from == "official" else None
    if attributes is not None:
        data = data.select([name.strip() for name in attributes.split(",")])
    found = examine(data, raw=arrays["embeddings"], seed=seed, split_origin=origin)
    broken = _broken(folder, set(data.ids.tolist())) if images and folder is not None else None
    if as_json:
        content = found.model_dump(mode="json")
        print_json(content if broken is None else content | {"broken_images": _as_dicts(broken)})
        return
    typer.echo(str(file))
    _print(found)
    if broken is not None:
        _print_broken(broken)


def _print(found: Inspection) -> None:
    from rich.table import Table

    lines = [("rows x width", f"{found.rows:,} x {found.width}")]
    if found.norms is not None:
        n = found.norms
        lines.append(("norms", f"{n.smallest:.4g} to {n.largest:.4g}, mean {n.mean:.4g} ({n.dtype})"))
    g = found.geometry
    cosine = "-" if g.mean_cosine is None else f"{g.mean_cosine:.3f}"
    lines.append(("geometry", f"mean cosine {cosine}, spread {g.spread:.3f}"))
    lines.append(("", f"participation ratio {g.participation_ratio:.1f}, effective rank {g.effective_rank:.1f}"))
    sizes = ", ".join(f"{name} {size:,}" for name, size in found.splits.items())
    lines.append(("split", f"{sizes} (from {found.split_origin})"))
    if found.people is not None:
        p = found.people
        lines.append(("people", f"{p.count:,}, at most {p.most_rows} rows each, {p.with_one_row:,} with one"))
    if found.copies is not None:
        c = found.copies
        lines.append(("copies", f"{c.rows:,} rows repeat another; one stands {c.most:,} times (first: id '{c.id}')"))
    if found.combinations is not None:
        kinds = found.combinations
        lines.append(("combinations", f"{kinds.found:,} of {kinds.possible:,} possible; the rarest:"))
        lines += [("", f"{kind.rows:,} x {' + '.join(kind.present) or 'none of them'}") for kind in kinds.rarest]
    if found.other_arrays:
        lines.append(("also holds", ", ".join(found.other_arrays)))
    for title, text in lines:
        typer.echo(f"  {title:<13} {text}")
    if found.attributes:
        table = Table("attribute", "yes", *(f"{name} yes/no" for name in found.splits), "unknown")
        for count in found.attributes:
            share = "-" if count.share is None else f"{count.share:.1%}"
            cells = [f"{count.yes[name]:,}/{count.no[name]:,}" for name in found.splits]
            table.add_row(count.name, share, *cells, f"{count.unknown:,}")
        console().print(table)
    typer.echo(f"Problems: {len(found.problems) or 'none'}")
    for problem in found.problems:
        typer.echo(f"- {problem.what}.\n  Type: {problem.type}")


def _inspect_folder(folder: CelebA, images: bool, as_json: bool) -> None:
    broken = _broken(folder) if images else None
    counts, annotations = folder.counts(), folder.annotations
    people = None if annotations.identities is None else len(set(annotations.identities.tolist()))
    if as_json:
        content = {
            "listed": {name: listed for name, (listed, _) in counts.items()},
            "present": {name: there for name, (_, there) in counts.items()},
            "unlisted": len(folder.unlisted),
            "people": people,
            "attributes": dict(
                zip(annotations.attribute_names, annotations.attributes.mean(axis=0).tolist(), strict=True)
            ),
        }
        print_json(content if broken is None else content | {"broken_images": _as_dicts(broken)})
        return
    typer.echo(f"{folder.folder}: CelebA, {len(annotations.attribute_names)} attributes")
    for name, (listed, there) in counts.items():
        typer.echo(f"  {name:<6} {listed:>9,} images listed, {there:>9,} there")
    typer.echo(f"  people {'not named' if people is None else f'{people:>9,}'}")
    if folder.unlisted:
        typer.echo(f"  {len(folder.unlisted):,} files are not listed (first: {folder.unlisted[0]})")
    if broken is not None:
        _print_broken(broken)
    if sum(there > 0 for name, (_, there) in counts.items() if name != "all") == 1:
        typer.echo("The images there belong to one official part: their embeddings are split 56/8/16/20 by identity.")
    typer.echo(f"Next: fclf inspect EMBEDDINGS --labels-from {folder.folder}")


def _broken(folder: CelebA, names: set[str] | None = None) -> tuple[BrokenImage, ...]:
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), disable=not sys.stderr.isatty(), transient=True) as bar:
        task = bar.add_task("Images", total=int(folder.present.sum()) if names is None else len(names))
        return folder.broken_images(names, lambda: bar.advance(task))


def _print_broken(broken: Sequence[BrokenImage]) -> None:
    typer.echo(f"Broken images: {len(broken) or 'none'}")
    for image in broken:
        typer.echo(f"- {image.name}: {image.reason}")


def _as_dicts(broken: Sequence[BrokenImage]) -> list[dict[str, str]]:
    return [{"name": image.name, "reason": image.reason} for image in broken]
