"""The one way in which commands read embeddings: options, labels from a CelebA folder, and what is said about it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fclf.cli.common import Labels, note, say_split
from fclf.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fclf.data.celeba import CelebA
    from fclf.data.embeddings import EmbeddingSet
    from fclf.data.labelling import Labelled
    from fclf.data.shards.index import ShardIndex

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


def load_source(
    source: str,
    labels: Labels = Labels.binary,
    *,
    choose: Callable[[Sequence[str]], tuple[str, ...] | None],
    normalize: bool = False,
    labels_from: Path | None = None,
    partition: str | None = None,
    split_seed: int = 0,
) -> tuple[EmbeddingSet | ShardIndex, tuple[str, ...] | None]:
    """Read a file as `load_embeddings` does, or the index of shards; say what they were split by, and what was chosen.

    Args:
        source: a path, a pattern or an address.
        labels: how attributes are written.
        choose: attributes among those that the file or the first shard declares; None for all of them.
        normalize: project rows to the unit sphere.
        labels_from: as of `load_embeddings`; shards bring their own labels.
        partition: as of `load_embeddings`.
        split_seed: of rows without a split.
    """
    from fclf.data.shards.folder import is_sharded

    if not is_sharded(source):
        data = load_embeddings(
            Path(source),
            labels,
            normalize=normalize,
            labels_from=labels_from,
            partition=partition,
            split_seed=split_seed,
        )
        say_split(data, split_seed)
        return data, choose(data.attribute_names)
    from fclf.data.shards.index import ShardIndex, attributes_of

    if labels_from is not None or partition is not None:
        raise InputError("--labels-from joins labels to a single file; shards bring theirs as columns. Leave it out.")
    chosen = choose(attributes_of(source))
    index = ShardIndex.read(source, chosen, split_seed=split_seed, labels=labels.value, normalize=normalize)
    note(f"{len(index):,} rows of width {index.dim} in {len(index.shards):,} shards.")
    if not index.own_split:
        note(f"The shards have no split; rows are split 56/8/16/20 by a hash of {index.split_key}, seed {split_seed}.")
    return index, index.attribute_names


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


def choose_attributes(there: Sequence[str], typed: str | None, usual: tuple[str, ...] | None) -> tuple[str, ...] | None:
    """Attributes to learn: those typed, or the recipe's where the file has them; None for all of the file's.

    Raises:
        InputError: if the file has some of the recipe's only, as it would be a guess which are meant.
    """
    if typed is not None:
        return tuple(name.strip() for name in typed.split(","))
    if usual is None or not there:
        return usual
    found = [name for name in usual if name in there]
    if not found:
        note(f"None of the recipe's attributes is in the file; learning all of its {len(there)}.")
        return None
    if len(found) < len(usual):
        raise InputError(
            f"The file has {', '.join(found)} of the recipe's attributes {', '.join(usual)}. Say which to learn: "
            f"--attributes {','.join(found)}"
        )
    return usual
