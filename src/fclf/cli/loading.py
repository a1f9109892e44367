"""The one way in which commands read embeddings: options, labels from a CelebA folder, and what is said about it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fclf.cli.common import Labels, note
from fclf.errors import InputError

if TYPE_CHECKING:
    from fclf.data.celeba import CelebA
    from fclf.data.embeddings import EmbeddingSet
    from fclf.data.labelling import Labelled

LabelsFromOption = Annotated[
    Path | None,
    typer.Option("--labels-from", metavar="FOLDER", help="A folder of CelebA: its labels, joined by id or by order."),
]
PartitionOption = Annotated[
    str | None,
    typer.Option(
        "--partition",
        metavar="train|val|test|all",
        help="With --labels-from: the part of CelebA that rows without ids are in the order of.",
    ),
]
NormalizeOption = Annotated[
    bool, typer.Option("--normalize", help="Project rows to the unit sphere instead of refusing them.")
]


def load_embeddings(
    path: Path,
    labels: Labels = Labels.binary,
    *,
    normalize: bool = False,
    labels_from: Path | None = None,
    partition: str | None = None,
    split_seed: int = 0,
) -> EmbeddingSet:
    """Read an embedding file, with labels from a folder of CelebA where one is named, and say what was joined."""
    from fclf.data.embeddings import EmbeddingSet

    data = EmbeddingSet.load(path, labels=labels.value, normalize=normalize)
    return with_labels_from(data, labels_from, path, partition=partition, split_seed=split_seed)


def with_labels_from(
    data: EmbeddingSet, labels_from: Path | None, path: Path, *, partition: str | None = None, split_seed: int = 0
) -> EmbeddingSet:
    """`data` with the labels of a folder of CelebA, where one is named."""
    if labels_from is None:
        if partition is not None:
            raise InputError(f"--partition {partition} is of use with --labels-from FOLDER only; add it.")
        return data
    from fclf.data.celeba import CelebA

    return join_labels(data, CelebA.load(labels_from), path, partition=partition, split_seed=split_seed).data


def join_labels(
    data: EmbeddingSet, folder: CelebA, path: Path, *, partition: str | None = None, split_seed: int = 0
) -> Labelled:
    """Join labels to the embeddings of a file, and say how many rows got them, by what, and whose split it is."""
    joined = folder.label(data, seed=split_seed, partition=partition, name=path.name)
    matched = len(data) - joined.unmatched
    note(
        f"Labels: {len(joined.data.attribute_names)} attributes for {matched:,} of {len(data):,} rows, joined by "
        f"{joined.joined_by} with {joined.rule} in {folder.folder}."
    )
    if joined.unmatched:
        note(f"{joined.unmatched:,} ids are not in the list; their rows have no labels.")
    if joined.split_from == "official":
        by = "identity" if joined.data.identities is not None else "row (the folder names no identities)"
        note(f"Split: CelebA's own; judge rows, which it has not, are drawn by {by} with seed {split_seed}.")
    return joined


def choose_attributes(data: EmbeddingSet, typed: str | None, usual: tuple[str, ...] | None) -> tuple[str, ...] | None:
    """Attributes to learn: those typed, or the recipe's where the file has them; None for all of the file's.

    Raises:
        InputError: if the file has some of the recipe's only, as it would be a guess which are meant.
    """
    if typed is not None:
        return tuple(name.strip() for name in typed.split(","))
    if usual is None or data.attributes is None:
        return usual
    there = [name for name in usual if name in data.attribute_names]
    if not there:
        note(f"None of the recipe's attributes is in the file; learning all of its {len(data.attribute_names)}.")
        return None
    if len(there) < len(usual):
        raise InputError(
            f"The file has {', '.join(there)} of the recipe's attributes {', '.join(usual)}. Say which to learn: "
            f"--attributes {','.join(there)}"
        )
    return usual
