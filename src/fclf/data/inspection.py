"""What an embedding set holds, and what in it would stop or spoil a run: one frozen, serialisable result."""

from __future__ import annotations

import json
import shlex
from collections.abc import Collection, Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Float64, Int64
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from fclf.data.checks import NORM_TOLERANCE, row_norms
from fclf.data.copies import copy_numbers
from fclf.data.embeddings import EmbeddingSet, naming_line
from fclf.data.splits import SPLITS
from fclf.labels import UNKNOWN

__all__ = [
    "AttributeCount",
    "Combination",
    "Combinations",
    "Copies",
    "Geometry",
    "Inspection",
    "Norms",
    "People",
    "Problem",
    "inspect",
]

RAREST = 5
FEWEST = 2  # rows of each value that a judge needs
MANY_COPIES, MANY_SHARE = 10, 0.01  # of one embedding, both: a placeholder, and not a picture taken twice
CHUNK = 16384  # rows whose products are summed at a time, so that float64 copies stay small


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Norms(_Part):
    """Euclidean norms of the rows before they were projected."""

    dtype: str
    smallest: float
    mean: float
    largest: float
    off: int
    """Rows further from 1 than the type's tolerance."""


class Geometry(_Part):
    """Where the rows lie on the sphere, all of them together."""

    mean_cosine: float | None
    r"""Mean over distinct pairs, $(n\|\bar z\|^2 - 1)/(n - 1)$; None for a single row."""
    spread: float
    r"""Root mean squared distance to the mean, $\sqrt{1 - \|\bar z\|^2}$; 0 where all rows are one point."""
    participation_ratio: float
    r"""$(\sum\lambda)^2 / \sum\lambda^2$ of the covariance's eigenvalues: directions that carry variance."""
    effective_rank: float
    r"""$\exp(-\sum p\log p)$, $p = \lambda/\sum\lambda$ (Roy & Vetterli, 2007): small directions count as well."""


class AttributeCount(_Part):
    """Labels of one attribute."""

    name: str
    share: float | None
    """Of yes among the known labels; None where none is known."""
    unknown: int
    yes: dict[str, int]
    """Rows that have it, by split."""
    no: dict[str, int]


class Combination(_Part):
    """One combination of attributes: those that are yes, and its rows."""

    present: tuple[str, ...]
    rows: int


class Combinations(_Part):
    """Which combinations of the attributes occur, among rows whose labels are all known."""

    found: int
    possible: int
    """2^K."""
    rarest: tuple[Combination, ...]


class People(_Part):
    """Identities."""

    count: int
    most_rows: int
    """Of one person."""
    with_one_row: int


class Copies(_Part):
    """Embeddings that are there more than once, as of a picture that stands in a folder twice."""

    rows: int
    """That repeat the embedding of an earlier row."""
    most: int
    """How many rows hold the most frequent one."""
    id: str
    """Of the first of those."""


class Problem(_Part):
    """Something that stops or spoils a run, and the line that mends it."""

    what: str
    type: str


class Inspection(_Part):
    """Everything `fclf inspect FILE` shows."""

    rows: int
    width: int
    norms: Norms | None
    """None where the rows were not given as the file holds them."""
    geometry: Geometry
    attributes: tuple[AttributeCount, ...]
    combinations: Combinations | None
    """None without attributes."""
    splits: dict[str, int]
    split_origin: str
    people: People | None
    copies: Copies | None
    """None where every embedding is there once."""
    other_arrays: tuple[str, ...]
    problems: tuple[Problem, ...]


def inspect(
    data: EmbeddingSet,
    *,
    raw: NDArray[np.floating] | None = None,
    seed: int = 0,
    split_origin: str | None = None,
) -> Inspection:
    """Describe a set and find what is wrong with it; nothing is changed.

    Args:
        data: a checked set.
        raw: its embeddings (n, d) as the file holds them, to report norms from before the projection.
        seed: of the split that a set without one would get.
        split_origin: where the split comes from, in words; by default the file, or the seed.
    """
    if split_origin is None:
        by = "identity" if data.identities is not None else "row"
        split_origin = "the file" if data.split is not None else f"56/8/16/20 by {by}, seed {seed}"
    chosen = data.with_split(seed)
    split = chosen.split
    assert split is not None  # with_split gives one
    attributes = tuple(_attribute_counts(chosen, split))
    numbers = copy_numbers(data.embeddings)
    copies = _copies(data, numbers)
    return Inspection(
        rows=len(data),
        width=data.dim,
        norms=None if raw is None else _norms(raw),
        geometry=_geometry(data.embeddings),
        attributes=attributes,
        combinations=_combinations(data),
        splits={name: int((split == name).sum()) for name in SPLITS},
        split_origin=split_origin,
        people=_people(data),
        copies=copies,
        other_arrays=tuple(data.extras),
        problems=tuple(_Problems(data, split, attributes, raw, numbers, copies).all()),
    )


def _norms(raw: NDArray[np.floating]) -> Norms:
    norms = row_norms(raw)
    return Norms(
        dtype=raw.dtype.name,
        smallest=float(norms.min()),
        mean=float(norms.mean()),
        largest=float(norms.max()),
        off=_off(norms, raw),
    )


def _off(norms: Float64[np.ndarray, " n"], raw: NDArray[np.floating]) -> int:
    return int((np.abs(norms - 1) > NORM_TOLERANCE[raw.dtype.name]).sum())


def _geometry(z: Float32[np.ndarray, "n d"]) -> Geometry:
    n = len(z)
    mean = z.mean(axis=0, dtype=np.float64)
    squared = float(mean @ mean)
    eigenvalues = np.maximum(np.linalg.eigvalsh(_scatter(z, mean)), 0.0)
    # Equal rows leave rounding alone, which has a rank of its own; it is not theirs.
    total = float(eigenvalues.sum()) if eigenvalues.sum() > n * 1e-12 else 0.0
    shares = eigenvalues[eigenvalues > 0] / total if total else np.ones(1)
    return Geometry(
        mean_cosine=(n * squared - 1) / (n - 1) if n > 1 else None,
        spread=float(np.sqrt(max(1 - squared, 0.0))) if total else 0.0,
        participation_ratio=1 / float(shares @ shares) if total else 0.0,
        effective_rank=float(np.exp(-(shares @ np.log(shares)))) if total else 0.0,
    )


def _scatter(z: Float32[np.ndarray, "n d"], mean: Float64[np.ndarray, " d"]) -> Float64[np.ndarray, "m m"]:
    """Products of the centred rows, by dimension or, where rows are fewer, by row: the same eigenvalues but zeros."""
    if len(z) < z.shape[1]:
        centred = z - mean
        products: Float64[np.ndarray, "m m"] = centred @ centred.T
        return products
    total = np.zeros((z.shape[1], z.shape[1]))
    for start in range(0, len(z), CHUNK):
        centred = z[start : start + CHUNK] - mean
        total += centred.T @ centred
    return total


def _attribute_counts(data: EmbeddingSet, split: NDArray[np.str_]) -> Iterator[AttributeCount]:
    for k, name in enumerate(data.attribute_names):
        assert data.attributes is not None  # as there are names
        label = data.attributes[:, k]
        known = label != UNKNOWN
        yield AttributeCount(
            name=name,
            share=float(label[known].mean()) if known.any() else None,
            unknown=int((~known).sum()),
            yes={part: int(((label == 1) & (split == part)).sum()) for part in SPLITS},
            no={part: int(((label == 0) & (split == part)).sum()) for part in SPLITS},
        )


def _combinations(data: EmbeddingSet) -> Combinations | None:
    if data.attributes is None:
        return None
    known = data.attributes[(data.attributes != UNKNOWN).all(axis=1)]
    kinds, counts = np.unique(known, axis=0, return_counts=True)
    names = np.array(data.attribute_names)
    rarest = np.argsort(counts, kind="stable")[:RAREST]
    return Combinations(
        found=len(kinds),
        possible=2 ** len(names),
        rarest=tuple(Combination(present=tuple(names[kinds[i] == 1].tolist()), rows=int(counts[i])) for i in rarest),
    )


def _people(data: EmbeddingSet) -> People | None:
    if data.identities is None:
        return None
    counts = np.unique(data.identities, return_counts=True)[1]
    return People(count=len(counts), most_rows=int(counts.max()), with_one_row=int((counts == 1).sum()))


def _copies(data: EmbeddingSet, numbers: Int64[np.ndarray, " n"]) -> Copies | None:
    counts = np.bincount(numbers)
    repeated = len(data) - int((counts > 0).sum())
    if not repeated:
        return None
    return Copies(rows=repeated, most=int(counts.max()), id=str(data.ids[counts.argmax()]))


def _fewest(count: AttributeCount, part: str) -> int:
    return min(count.yes[part], count.no[part])


@dataclass(frozen=True)
class _Problems:
    """The checks, each a generator, in the order in which a user would mend what they find."""

    data: EmbeddingSet
    split: NDArray[np.str_]
    attributes: tuple[AttributeCount, ...]
    raw: NDArray[np.floating] | None
    numbers: Int64[np.ndarray, " n"]
    """Of each row's embedding (`copy_numbers`)."""
    repeated: Copies | None

    def is_empty(self, part: str) -> bool:
        return not (self.split == part).any()

    def all(self) -> Iterator[Problem]:
        yield from self.lengths()
        yield from self.labels()
        yield from self.constants()
        yield from self.same()
        yield from self.splits()
        yield from self.people()
        yield from self.copies()

    def lengths(self) -> Iterator[Problem]:
        off = 0 if self.raw is None else _off(row_norms(self.raw), self.raw)
        if off:
            yield Problem(
                what=f"{off} of {len(self.data)} rows are not unit vectors; they were projected",
                type="--normalize, with every command that reads this file",
            )

    def labels(self) -> Iterator[Problem]:
        if self.data.attributes is None:
            unnamed = self.data.unnamed_labels()
            if unnamed:
                yield Problem(
                    what=f"columns of 0 and 1 that are not named as attributes: {', '.join(unnamed)}",
                    type=naming_line(unnamed),
                )
            else:
                yield Problem(
                    what="there are no attributes, so nothing can be learned or judged",
                    type="--labels-from CELEBA_FOLDER, or add `attributes` and `attribute_names` to the file",
                )
            return
        unlabelled = int((self.data.attributes == UNKNOWN).all(axis=1).sum())
        if unlabelled:
            yield Problem(
                what=f"{unlabelled} of {len(self.data)} rows have no label at all and are left out of a run",
                type="label the rows, or take them out of the file",
            )

    def constants(self) -> Iterator[Problem]:
        few = [] if self.is_empty("train") else [c.name for c in self.attributes if _fewest(c, "train") == 0]
        unjudged = [] if self.is_empty("judge") else [c.name for c in self.attributes if _fewest(c, "judge") < FEWEST]
        unjudged = [name for name in unjudged if name not in few]
        for names, what in (
            (few, "constant in the train rows, so that they cannot be learned"),
            (unjudged, f"with fewer than {FEWEST} judge rows of one value, so that they cannot be judged"),
        ):
            if names:
                rest = self.without((*few, *unjudged))
                yield Problem(
                    what=f"attributes {what}: {', '.join(names)}",
                    type=rest or "add rows in which they vary",
                )

    def same(self) -> Iterator[Problem]:
        """Attributes of which one says all of another: an edit of one alone asks for what no row is."""
        if self.data.attributes is None:
            return
        groups: dict[bytes, list[str]] = {}
        for name, labels in zip(self.data.attribute_names, self.data.attributes.T, strict=True):
            known = labels[labels != UNKNOWN]
            if len(known) and np.ptp(known):
                turned = np.where(labels == UNKNOWN, labels, labels ^ known[0])  # so that the opposite is the same
                groups.setdefault(turned.tobytes(), []).append(name)
        again = [names for names in groups.values() if len(names) > 1]
        if again:
            yield Problem(
                what="attributes with the same labels, or exactly the opposite: " + "; ".join(map(" = ".join, again)),
                type=self.without([name for names in again for name in names[1:]]),
            )

    def without(self, names: Collection[str]) -> str:
        """What to type to leave attributes out; nothing where none would be left."""
        rest = [count.name for count in self.attributes if count.name not in names]
        if any("," in name for name in rest):
            return "--set " + shlex.quote(f"data.attributes={json.dumps(rest, ensure_ascii=False)}")
        return f"--attributes {shlex.quote(','.join(rest))}" if rest else ""

    def splits(self) -> Iterator[Problem]:
        empty = [name for name in SPLITS if self.is_empty(name)]
        if empty:
            yield Problem(
                what=f"no row is in the split {', '.join(empty)}",
                type=f"give rows the split {' and '.join(empty)}, or leave `split` out of the file for a seeded one",
            )

    def people(self) -> Iterator[Problem]:
        if self.data.identities is None:
            yield Problem(
                what="there are no identities, so one person may be trained on and judged",
                type="add `identities` (whole numbers) to the file, or --labels-from CELEBA_FOLDER",
            )

    def copies(self) -> Iterator[Problem]:
        found = self.repeated
        if found is not None and found.most >= max(MANY_COPIES, MANY_SHARE * len(self.data)):
            yield Problem(
                what=f"{found.most:,} of {len(self.data):,} rows hold the same embedding, as of a placeholder (first: "
                f"id '{found.id}')",
                type="take them out of the file, or all but one",
            )
        pairs = np.unique(np.stack([self.numbers, np.searchsorted(np.sort(SPLITS), self.split)]), axis=1)
        shared = np.flatnonzero(np.bincount(pairs[0]) > 1)
        if len(shared):
            rows = np.flatnonzero(np.isin(self.numbers, shared))
            yield Problem(
                what=f"{len(rows)} rows hold an embedding that stands in more than one split "
                f"(first: id '{self.data.ids[rows[0]]}')",
                type="leave `split` out of the file, which keeps copies together, or take the copies out",
            )
