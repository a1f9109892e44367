"""The rows that can be edited: those of the file, and uploads that are held for a while."""

from __future__ import annotations

import secrets
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Float64, Int8
from numpy.typing import NDArray
from scipy.special import expit

from fclf.checkpoint import Checkpoint
from fclf.data.embeddings import UNKNOWN, EmbeddingSet
from fclf.data.targets import own_labels
from fclf.serve.reader import classifier_of

__all__ = ["UPLOAD", "Row", "Rows", "UnknownPersonError"]

UPLOAD = "upload-"


class UnknownPersonError(LookupError):
    """No row has this id."""


@dataclass(frozen=True)
class Row:
    """A row and what is known of it."""

    id: str
    z: Float32[np.ndarray, " d"]
    labels: Int8[np.ndarray, " K"]
    """Known or inferred; `UNKNOWN` where neither."""
    confidence: Float64[np.ndarray, " K"]
    """The classifier's probability of the label, NaN where the label is the file's own."""
    number: int | None = None
    """In the file; None for an upload."""
    picture: str | None = None


class Rows:
    """Looks rows up by id, in dictionaries only.

    Args:
        checkpoint: infers labels that the file does not have.
        data: the file.
        uploads: how many are held.
        fresh: numbers of the rows that chance picks from.
    """

    def __init__(self, checkpoint: Checkpoint, data: EmbeddingSet, uploads: int, fresh: NDArray[np.intp]) -> None:
        self._data, self._labels = data, own_labels(data, checkpoint.attribute_names)
        self._classifier = classifier_of(checkpoint)
        self._number = {str(name): row for row, name in enumerate(data.ids)}
        self._searched = [name.casefold() for name in self._number]
        self._names = list(self._number)
        self._fresh = fresh if len(fresh) else np.arange(len(data))
        self._uploads: OrderedDict[str, Row] = OrderedDict()
        self._most, self._lock = uploads, threading.Lock()

    def __len__(self) -> int:
        return len(self._names)

    def get(self, name: str) -> Row:
        """The row of this id.

        Raises:
            UnknownPersonError: if there is none.
        """
        number = self._number.get(name)
        if number is not None:
            return self._row(name, self._data.embeddings[number], self._labels[number], number)
        with self._lock:
            found = self._uploads.get(name)
            if found is None:
                raise UnknownPersonError(name)
            self._uploads.move_to_end(name)
            return found

    def search(self, text: str, most: int) -> tuple[list[str], bool]:
        """Ids that contain the text, in any case, in the order of the file; and whether there are more."""
        wanted, found = text.casefold(), list[str]()
        for name, searched in zip(self._names, self._searched, strict=True):
            if wanted in searched:
                if len(found) == most:
                    return found, True
                found.append(name)
        return found, False

    def random(self) -> str:
        """Id of any row, of those that neither training nor the judge has read if there are such."""
        return self._names[int(secrets.choice(self._fresh))]

    def add(self, z: Float32[np.ndarray, " d"], picture: str) -> Row:
        """Hold an upload under an id that nobody can guess; the one that was used least recently goes."""
        labels = np.full(self._labels.shape[1], UNKNOWN, dtype=np.int8)
        row = self._row(f"{UPLOAD}{secrets.token_urlsafe(12)}", z, labels, None, picture)
        with self._lock:
            self._uploads[row.id] = row
            while len(self._uploads) > self._most:
                self._uploads.popitem(last=False)
        return row

    def _row(
        self,
        name: str,
        z: Float32[np.ndarray, " d"],
        own: Int8[np.ndarray, " K"],
        number: int | None,
        picture: str | None = None,
    ) -> Row:
        labels, confidence = own.copy(), np.full(len(own), np.nan)
        unknown = own == UNKNOWN
        if unknown.any() and self._classifier is not None:
            probability = expit(self._classifier.logits(z[None].astype(np.float64))[0])
            labels[unknown] = probability[unknown] > 0.5
            confidence[unknown] = np.maximum(probability, 1 - probability)[unknown]
        return Row(name, z, labels, confidence, number, picture)


def missing_labels(rows: Sequence[Row], names: Sequence[str]) -> list[str]:
    """Attributes that some row has no label of."""
    unknown = np.stack([row.labels for row in rows]) == UNKNOWN
    return [name for name, lacking in zip(names, unknown.any(axis=0), strict=True) if lacking]
