"""`EmbeddingSet`: unit embeddings with labelled attributes, checked when they come in."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32, Int8, Int64
from numpy.typing import NDArray

from fclf.data import formats
from fclf.data.checks import (
    LabelCoding,
    binary_labels,
    check_people,
    known_splits,
    one_text,
    people_numbers,
    plain_array,
    unique_ids,
    unit_rows,
)
from fclf.data.copies import who_or_same
from fclf.data.splits import SPLITS, assign_splits
from fclf.errors import InputError
from fclf.files import digest
from fclf.labels import UNKNOWN, ExclusiveGroup

__all__ = ["SYNTHETIC", "UNKNOWN", "EmbeddingSet", "LabelCoding", "attribute_positions", "naming_line"]

SYNTHETIC = "synthetic"
"""Column whose rows of 1 are edits of others (`fclf augment`)."""

KEYS = ("embeddings", "attributes", "attribute_names", "ids", "identities", "split", "encoder")


@dataclass(frozen=True)
class EmbeddingSet:
    """Embeddings on the unit sphere with attributes, ids, identities and splits.

    Build one with `load` or `from_arrays`, which check everything; the constructor itself trusts its arguments.
    """

    embeddings: Float32[np.ndarray, "n d"]
    """Unit vectors."""
    attributes: Int8[np.ndarray, "n K"] | None = None
    """0, 1 or `UNKNOWN`; absent in files that are only edited."""
    attribute_names: tuple[str, ...] = ()
    ids: NDArray[np.str_] = field(default_factory=lambda: np.empty(0, dtype="U1"))
    identities: Int64[np.ndarray, " n"] | None = None
    """Who is shown; rows of one person never stand in two splits."""
    split: NDArray[np.str_] | None = None
    """One of `fclf.data.splits.SPLITS` a row."""
    has_ids: bool = True
    """False where `ids` are row numbers because the file names no ids."""
    extras: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    """What else the file holds, carried along unread."""
    encoder: str | None = None
    """Fingerprint of the network that made the embeddings, where it is known."""
    exclusive: tuple[ExclusiveGroup, ...] = ()
    """Attributes that exclude each other, by their columns; no file says so, but a configuration."""

    def __len__(self) -> int:
        return len(self.embeddings)

    @property
    def dim(self) -> int:
        """Width d of the embeddings."""
        return int(self.embeddings.shape[1])

    @classmethod
    def from_arrays(
        cls,
        arrays: Mapping[str, Any],
        *,
        labels: LabelCoding = "binary",
        normalize: bool = False,
        source: str = "the arrays",
        first_row: int = 0,
    ) -> EmbeddingSet:
        """Check arrays under the keys of the file format and build a set from them.

        Args:
            arrays: `embeddings` (n, d) float16, 32 or 64 of unit norm; optionally `attributes` (n, K),
                `attribute_names` (K,), `ids` (n,), `identities` (n,), `split` (n,). Other keys are kept.
            labels: how attributes are written.
            normalize: project rows of any length to the unit sphere instead of refusing them.
            source: what to call the input in messages.
            first_row: number of the first row in `source`, where the arrays are a part of it.

        Raises:
            InputError: for anything else, with the first bad row.
        """
        arrays = {key: plain_array(key, value, source) for key, value in arrays.items()}
        if "embeddings" not in arrays:
            found = ", ".join(sorted(arrays)) or "nothing"
            raise InputError(f"{source} has no array `embeddings`; it holds {found}.")
        embeddings = unit_rows(arrays["embeddings"], source, normalize=normalize, first_row=first_row)
        n = len(embeddings)
        names, attributes = binary_labels(arrays, n, labels, source, first_row)
        ids = unique_ids(arrays.get("ids"), n, source)
        identities = people_numbers(arrays, n, source)
        split = known_splits(arrays, n, source, first_row)
        if identities is not None and split is not None:
            check_people(identities, split, source)
        return cls(
            embeddings=embeddings,
            attributes=attributes,
            attribute_names=names,
            ids=ids,
            identities=identities,
            split=split,
            has_ids="ids" in arrays,
            encoder=one_text(arrays.get("encoder"), "encoder", source),
            extras={key: value for key, value in arrays.items() if key not in KEYS},
        )

    @classmethod
    def load(cls, path: str | Path, *, labels: LabelCoding = "binary", normalize: bool = False) -> EmbeddingSet:
        """Read an `.npz`, `.parquet` or `.pt` file (`fclf.data.formats`); pickled objects are never executed.

        Raises:
            InputError: for a file that is missing, damaged or breaks the format.
        """
        arrays = formats.read(Path(path), "Embeddings")
        return cls.from_arrays(arrays, labels=labels, normalize=normalize, source=str(path))

    def save(self, path: str | Path) -> None:
        """Write a file that `load` reads back, in the format of its suffix; the file is whole or absent."""
        formats.write(Path(path), self.to_arrays())

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Everything that is known, under the keys that `from_arrays` takes."""
        arrays: dict[str, NDArray[Any]] = {"embeddings": self.embeddings}
        if self.attributes is not None:
            arrays |= {"attributes": self.attributes, "attribute_names": np.array(self.attribute_names)}
        if self.has_ids:
            arrays["ids"] = self.ids
        for key, value in (("identities", self.identities), ("split", self.split)):
            if value is not None:
                arrays[key] = value
        if self.encoder is not None:
            arrays["encoder"] = np.array(self.encoder)
        return {**arrays, **self.extras}

    def select(self, names: Sequence[str]) -> EmbeddingSet:
        """Keep these attributes, in this order; `InputError` suggests the nearest name for one that is not there."""
        if self.attributes is None:
            raise InputError(
                f"These embeddings have no attributes, so none can be chosen by name: {self._add_labels()}"
            )
        if not names:
            raise InputError(f"No attribute is chosen; choose among {', '.join(self.attribute_names)}.")
        columns = attribute_positions(names, self.attribute_names)
        exclusive = tuple(group.among(columns) for group in self.exclusive)
        return replace(
            self,
            attributes=self.attributes[:, columns],
            attribute_names=tuple(names),
            exclusive=tuple(group for group in exclusive if len(group.columns) > 1),
        )

    def with_exclusive(self, groups: Iterable[tuple[Sequence[str], bool | None]]) -> EmbeddingSet:
        """The same rows, of whose labels it is known that these attributes exclude each other.

        Args:
            groups: names of attributes, and whether a row always has one of them; None to look at the labels.

        Raises:
            InputError: for a name that is not there, or rows that have two of a group, or none where they always have.
        """
        found = []
        for names, always in groups:
            columns = attribute_positions(names, self.attribute_names)
            labels = np.asarray(self.attributes)[:, columns]
            count, known = (labels == 1).sum(axis=1), (labels != UNKNOWN).all(axis=1)
            none = known & (count == 0)
            if (count > 1).any():
                row = int(np.flatnonzero(count > 1)[0])
                both = " and ".join(name for name, label in zip(names, labels[row], strict=True) if label == 1)
                raise InputError(
                    f"data.exclusive: {', '.join(names)} exclude each other, but {int((count > 1).sum())} of "
                    f"{len(self)} rows have more than one (first: {self.ids[row]}, {both}). Mend the labels, or leave "
                    "the group out."
                )
            if always and none.any():
                raise InputError(
                    f"data.exclusive: a row always has one of {', '.join(names)}, but {int(none.sum())} of {len(self)} "
                    f"rows have none (first: {self.ids[np.flatnonzero(none)[0]]}). Set always to false."
                )
            seen = bool(known.any() and not none.any())
            found.append(ExclusiveGroup(tuple(columns), seen if always is None else always))
        return replace(self, exclusive=tuple(found))

    def take(self, rows: NDArray[np.bool_] | NDArray[np.intp]) -> EmbeddingSet:
        """Keep some rows, given as a mask or as row numbers.

        Rows that follow each other are not copied, as the parts of CelebA do.
        """
        chosen = _run_of(rows)

        def pick(column: Any) -> Any:
            return None if column is None else column[chosen]

        return replace(
            self,
            embeddings=pick(self.embeddings),
            attributes=pick(self.attributes),
            ids=pick(self.ids),
            identities=pick(self.identities),
            split=pick(self.split),
            extras={
                key: pick(value) if value.ndim and len(value) == len(self) else value
                for key, value in self.extras.items()
            },
        )

    def check_real(self) -> None:
        """Refuse edited rows, of which nothing is to be learned and by which nothing is to be judged.

        Raises:
            InputError: if there are any, with their number.
        """
        marks = self.extras.get(SYNTHETIC)
        if marks is None or marks.dtype.kind not in "biuf" or marks.shape != (len(self),):
            return
        if edited := int((marks == 1).sum()):
            raise InputError(
                f"{edited} of {len(self)} rows are edited ones (column `{SYNTHETIC}`): edits, controls and judges "
                "would be fitted to edits. Name the file that it was made from, or take these rows out."
            )

    def with_split(self, seed: int = 0) -> EmbeddingSet:
        """Return a set in which every row has a split: the file's own, or a seeded 56/8/16/20 one.

        A seeded one keeps a person, and all copies of an embedding, in one split.
        """
        if self.split is not None:
            return self
        return replace(self, split=assign_splits(len(self), who_or_same(self.embeddings, self.identities), seed))

    def part(self, split: str) -> EmbeddingSet:
        """Rows of one split.

        Raises:
            InputError: if there are none.
        """
        return self.take(self.rows_of(split))

    def rows_of(self, split: str) -> NDArray[np.bool_]:
        """Which rows are in a split; `InputError` as of `part`."""
        if split not in SPLITS:
            raise InputError(f"There is no split '{split}'; type one of {', '.join(SPLITS)}.")
        if self.split is None:
            raise InputError("These embeddings have no split column; call `with_split(seed)` first.")
        rows: NDArray[np.bool_] = self.split == split
        if not rows.any():
            counts = ", ".join(f"{name} {int((self.split == name).sum())}" for name in SPLITS)
            raise InputError(f"The split '{split}' is empty (rows: {counts}). Give rows the split '{split}'.")
        return rows

    def labelled(self) -> EmbeddingSet:
        """Rows that have a known label of at least one attribute; what is unknown is masked wherever it would count.

        Raises:
            InputError: if there are no attributes, or no such row.
        """
        return self._with_known(np.any, "No row has a label of any of")

    def fully_labelled(self) -> EmbeddingSet:
        """Rows whose attributes are all known.

        Raises:
            InputError: if there are no attributes, or no such row.
        """
        return self._with_known(np.all, "No row has all of")

    def _with_known(self, reduce: Callable[..., NDArray[np.bool_]], none: str) -> EmbeddingSet:
        if self.attributes is None:
            raise InputError(f"These embeddings have no attributes; {self._add_labels()}")
        known = reduce(self.attributes != UNKNOWN, axis=1)
        if not known.any():
            raise InputError(
                f"{none} {', '.join(self.attribute_names)} labelled; choose other attributes, or label rows."
            )
        return self if known.all() else self.take(known)

    def constant_attributes(self) -> list[str]:
        """Attributes of which not both values are known of some row."""
        labels = np.asarray(self.attributes)
        return [name for name, column in zip(self.attribute_names, labels.T, strict=True) if not {0, 1} <= set(column)]

    def unnamed_labels(self) -> list[str]:
        """Other columns that hold nothing but 0 and 1, as labels do that no `fclf.attributes` names."""
        return [
            name
            for name, column in self.extras.items()
            if column.shape == (len(self),) and column.dtype.kind in "biuf" and np.isin(column, (0, 1)).all()
        ]

    def _add_labels(self) -> str:
        unnamed = self.unnamed_labels()
        if unnamed:
            return (
                f"columns {', '.join(unnamed)} hold 0 and 1, but nothing says that they are attributes. "
                f"{naming_line(unnamed)}"
            )
        return "add `attributes` and `attribute_names` to the file, or type --labels-from CELEBA_FOLDER."

    def fingerprint(self) -> str:
        """SHA-256 over embeddings, attributes, names, ids and split: the same for the same data in any file."""
        attributes = b"" if self.attributes is None else np.ascontiguousarray(self.attributes).data.cast("B")
        split = None if self.split is None else self.split.tolist()
        text = json.dumps([self.attribute_names, self.ids.tolist(), split]).encode()
        return digest(np.ascontiguousarray(self.embeddings).data.cast("B"), attributes, text)

    def row_digests(self) -> list[str]:
        """Digest of each row's content: finds the same embedding again in another file, whatever it is called."""
        return [digest(row.tobytes())[:16] for row in self.embeddings]

    def known_by(self, digests: Iterable[str]) -> Bool[np.ndarray, " n"]:
        """Which rows have the content of one of these (`row_digests`), whatever they are called."""
        known = set(digests)
        return np.array([digest in known for digest in self.row_digests()], dtype=np.bool_)


def _run_of(rows: NDArray[np.bool_] | NDArray[np.intp]) -> NDArray[np.bool_] | NDArray[np.intp] | slice:
    """The same rows as a slice, where they follow each other."""
    numbers = np.flatnonzero(rows) if rows.dtype == np.bool_ else rows
    if (
        len(numbers)
        and numbers[0] >= 0
        and numbers[-1] - numbers[0] == len(numbers) - 1
        and (np.diff(numbers) == 1).all()
    ):
        return slice(int(numbers[0]), int(numbers[-1]) + 1)
    return rows


def naming_line(names: Sequence[str]) -> str:
    """The line that makes columns of a Parquet file its attributes."""
    listed = json.dumps(list(names))
    return f"Name them: table.replace_schema_metadata({{'fclf.attributes': '{listed}'}}), and write the table again."


def attribute_positions(names: Sequence[str], available: Sequence[str]) -> list[int]:
    """Column of each name; `InputError` for unknown or repeated names, all of them at once."""
    problems = []
    for name in names:
        if name not in available:
            near = get_close_matches(name, available, n=1, cutoff=0.5)
            problems.append(f"'{name}'" + (f" (did you mean '{near[0]}'?)" if near else ""))
    if problems:
        raise InputError(
            f"Unknown attribute {', '.join(problems)}. There are {len(available)}: {', '.join(available) or 'none'}."
        )
    if len(set(names)) < len(names):
        twice = sorted({name for name in names if list(names).count(name) > 1})
        raise InputError(f"Attributes named twice: {', '.join(twice)}.")
    return [list(available).index(name) for name in names]
