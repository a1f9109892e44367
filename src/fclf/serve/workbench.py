"""The computing behind the page: rows in, edits with pictures, neighbours and readings out."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float32, Float64, Int8, UInt8
from numpy.typing import NDArray
from PIL import Image

from fclf import sphere
from fclf.checkpoint import Checkpoint
from fclf.closed.support import LEVEL
from fclf.config import ChangeModelConfig
from fclf.data.embeddings import UNKNOWN, EmbeddingSet
from fclf.data.targets import edit_targets
from fclf.decoder import Decoder
from fclf.encoders import Encoder
from fclf.errors import InputError
from fclf.evaluation.flipbook import pages
from fclf.serve.neighbours import Neighbourhood
from fclf.serve.pictures import Gallery, as_data_url
from fclf.serve.reader import Reader
from fclf.serve.rows import Row, Rows, missing_labels
from fclf.serve.schemas import (
    EditAnswer,
    EditRequest,
    EditResult,
    LabelReading,
    Neighbour,
    NeighboursAnswer,
    NeighboursRequest,
    Person,
    Point,
    SupportReading,
)
from fclf.serve.settings import Limits

__all__ = ["Workbench"]

OPERATING_POINTS = 32
"""Values of keep whose flows are kept."""
THUMBNAIL = 128


@dataclass
class Workbench:
    """A model and the rows that it edits. Nothing here changes after the start but uploads and caches.

    Args:
        checkpoint: the model.
        data: rows that can be edited, and neighbours.
        limits: how many uploads and gallery rows are held.
        decoder: draws embeddings, where there is one; of the same width.
        gallery: images of the rows, where there are any.
        encoder: embeds uploads, where there is one.

    Raises:
        InputError: if widths differ.
    """

    checkpoint: Checkpoint
    data: EmbeddingSet
    limits: Limits = field(default_factory=Limits)
    decoder: Decoder | None = None
    gallery: Gallery | None = None
    encoder: Encoder | None = None

    def __post_init__(self) -> None:
        self.checkpoint.check_rows(self.data)
        if self.decoder is not None and self.decoder.dim != self.checkpoint.dim:
            raise InputError(
                f"--decoder: it draws embeddings of width {self.decoder.dim}, but the model's have width "
                f"{self.checkpoint.dim}. Name one that was trained on them (`fclf decoder train`)."
            )
        self.names = self.checkpoint.attribute_names
        self.seen = self.checkpoint.has_read(self.data)
        self.reader = Reader.fit(self.checkpoint, self.data, self.seen)
        used = self.seen if self.reader.rows is None else self.seen | self.reader.rows
        self.rows = Rows(self.checkpoint, self.data, self.limits.uploads, np.flatnonzero(~used))
        self.neighbourhood = Neighbourhood(self.data, self.limits.gallery_rows)
        self._at_keep = lru_cache(maxsize=OPERATING_POINTS)(self.checkpoint.with_keep)
        self._changes = isinstance(self.checkpoint.config.model, ChangeModelConfig)

    @property
    def keep(self) -> float | None:
        """The model's own operating point, where it has one."""
        found = self.checkpoint.weights.get("ConditionalTransport.keep")
        return None if found is None else float(found)

    def person(self, name: str) -> Person:
        """What is known of a row."""
        row = self.rows.get(name)
        picture = row.picture
        if picture is None and self.gallery is not None:
            picture = self.gallery.picture(name)
        split, number = self.data.split, row.number
        judged = self.reader.rows is not None and number is not None and bool(self.reader.rows[number])
        read = self.reader(row.z[None].astype(np.float64))
        return Person(
            id=row.id,
            upload=number is None,
            split=None if split is None or number is None else str(split[number]),
            seen=number is not None and bool(self.seen[number]),
            judged=judged,
            picture=picture,
            labels=self._labels(row, row.labels, None if read is None else read[0], None),
        )

    def upload(self, picture: Image.Image) -> Person:
        """Embed a picture and hold it.

        Raises:
            InputError: if there is no encoder, or it is of another width.
        """
        if self.encoder is None:
            raise InputError("This server has no encoder, so it cannot embed pictures. Start it with --encoder NAME.")
        z = np.asarray(self.encoder.encode([picture]), dtype=np.float32)
        if z.shape != (1, self.checkpoint.dim) or not np.isfinite(z).all():
            raise InputError(
                f"The encoder gives embeddings of shape {z.shape}, but the model's have width {self.checkpoint.dim}. "
                "Start the server with the encoder that made the model's embeddings."
            )
        if not z.any():
            raise InputError("The encoder gives zeros for this picture, which lie nowhere on the sphere. Take another.")
        small = picture.copy()
        small.thumbnail((THUMBNAIL, THUMBNAIL))
        return self.person(self.rows.add(z[0] / np.linalg.norm(z[0]), as_data_url(np.asarray(small), "JPEG")).id)

    def neighbours(self, asked: NeighboursRequest) -> NeighboursAnswer:
        """Real rows that are nearest to some rows or embeddings."""
        rows: list[Row | None] = [self.rows.get(name) for name in asked.people]
        queries = [row.z for row in rows if row is not None]
        for number, values in enumerate(asked.embeddings):
            z = np.asarray(values, dtype=np.float64)
            if len(z) != self.checkpoint.dim or not z.any():
                raise InputError(
                    f"embeddings[{number}] has {len(z)} numbers, {np.count_nonzero(z)} of them not 0; "
                    f"{self.checkpoint.dim} numbers that are not all 0 were expected."
                )
            z = z / np.abs(z).max()  # squares of the largest and of the smallest numbers are none
            queries.append((z / np.linalg.norm(z)).astype(np.float32))
            rows.append(None)
        if not queries:
            raise InputError("Nothing to look for: give `people`, `embeddings` or both.")
        found = self._neighbours(np.stack(queries), rows, asked.count, pictures=asked.pictures)
        return NeighboursAnswer(results=found)

    def edit(self, asked: EditRequest) -> EditAnswer:
        """Carry rows to the target, and tell what became of them.

        Raises:
            UnknownPersonError: for an id that no row has.
            InputError: for unknown attributes, missing labels, or a strength that is too much for the flow.
        """
        begun = time.perf_counter()
        rows = [self.rows.get(name) for name in asked.people]
        own = np.stack([row.labels for row in rows])
        self._check_labels(rows, asked)
        target = edit_targets(own, self.names, asked.assign, [], self.checkpoint.exclusive) if asked.assign else own
        path = self._path(rows, target, asked)
        ends = path[-1]
        read = [self.reader(z.astype(np.float64)) for z in (path[0], ends)]
        support = self._support(path, rows, target)
        nearest = self._neighbours(ends, [*rows], asked.neighbours, pictures=asked.pictures)
        strips = self._strips(path, rows, asked)
        results = [
            EditResult(
                id=row.id,
                labels=self._labels(row, target[i], *(None if found is None else found[i] for found in read)),
                angle=float(np.degrees(_angle(path[0, i], ends[i]))),
                support=support[i],
                path=strips[i],
                neighbours=nearest[i],
            )
            for i, row in enumerate(rows)
        ]
        return EditAnswer(results=results, milliseconds=1000 * (time.perf_counter() - begun))

    def _check_labels(self, rows: Sequence[Row], asked: EditRequest) -> None:
        """Refuse rows without a label that the edit needs: of every attribute, or of all that are not set."""
        lacking = missing_labels(rows, self.names)
        if not self._changes:
            lacking = [name for name in lacking if name not in asked.assign]
        if lacking:
            raise InputError(
                f"There is no label for {', '.join(lacking)}, and the model has no classifier to infer one. Pick "
                "somebody whose labels are known."
            )

    def _path(
        self, rows: Sequence[Row], target: Int8[np.ndarray, "n K"], asked: EditRequest
    ) -> Float32[np.ndarray, "t n d"]:
        """Points of the path that are shown, source and destination at least."""
        model = self.checkpoint if asked.keep is None else self._at_keep(round(asked.keep, 2))
        flow = model.flow()
        z, own = np.stack([row.z for row in rows]), np.stack([row.labels for row in rows])
        shown = pages(flow.steps, max(asked.steps, 2))
        with torch.inference_mode():
            points = list(flow.path(*flow.inputs(z, own, target), asked.strength))
        path: Float32[np.ndarray, "t n d"] = torch.stack([points[at] for at in shown]).numpy()
        if self._changes:
            still = (own == target).all(axis=1)
            path[:, still] = z[still]
        if not (np.abs(np.linalg.norm(path, axis=2) - 1) < 1e-3).all():  # negated, so that NaN counts as lost
            raise InputError(
                f"The edit ends outside the unit sphere: a strength of {asked.strength:g} is too much for this flow. "
                "Lower it."
            )
        return path

    def _strips(self, path: Float32[np.ndarray, "t n d"], rows: Sequence[Row], asked: EditRequest) -> list[list[Point]]:
        """The path of each row: drawn where there is a decoder, else by the nearest rows."""
        if asked.steps < 2:
            path = path[[0, -1]]
        t, n = path.shape[:2]
        flat = path.swapaxes(0, 1).reshape(t * n, -1)
        pictures: Sequence[str | None] = [None] * len(flat)
        near: list[list[Neighbour]] = [[] for _ in flat]
        if self.decoder is None:
            near = self._neighbours(flat, [row for row in rows for _ in range(t)], 1, pictures=asked.pictures)
        elif asked.pictures:
            pictures = _texts(self.decoder.decode(flat))
        points = [
            Point(time=(i % t) / (t - 1), picture=picture, nearest=found[0] if found else None)
            for i, (picture, found) in enumerate(zip(pictures, near, strict=True))
        ]
        return [points[i * t : (i + 1) * t] for i in range(n)]

    def _neighbours(
        self, queries: Float32[np.ndarray, "q d"], rows: Sequence[Row | None], count: int, *, pictures: bool
    ) -> list[list[Neighbour]]:
        if not count:
            return [[] for _ in rows]
        found, cosines = self.neighbourhood(queries, count)
        names = [[str(self.data.ids[row]) for row in one] for one in found]
        shown: dict[int, str | None] = {}
        if pictures:
            shown = self._pictures(np.unique(found))
        people = self.data.identities
        return [
            [
                Neighbour(
                    id=name,
                    cosine=round(float(cosine), 4),
                    is_source=source is not None and source.number == row,
                    same_person=None
                    if people is None or source is None or source.number is None
                    else bool(people[source.number] == people[row]),
                    picture=shown.get(int(row)),
                    drawn=self.gallery is None and int(row) in shown,
                )
                for name, row, cosine in zip(names[i], found[i], cosines[i], strict=True)
            ]
            for i, source in enumerate(rows)
        ]

    def _pictures(self, numbers: NDArray[np.int64]) -> dict[int, str | None]:
        """Images of rows; where there is no folder of them, what a decoder draws of the rows."""
        if self.gallery is not None:
            return {int(row): self.gallery.picture(str(self.data.ids[row])) for row in numbers}
        if self.decoder is None:
            return {}
        drawn = _texts(self.decoder.decode(self.data.embeddings[numbers]))
        return dict(zip(numbers.tolist(), drawn, strict=True))

    def _support(
        self, path: Float32[np.ndarray, "t n d"], rows: Sequence[Row], target: Int8[np.ndarray, "n K"]
    ) -> list[SupportReading | None]:
        measure = self.checkpoint.support
        if measure is None:
            return [None] * len(rows)
        after = measure.score(path[-1], target)
        own = np.stack([row.labels for row in rows])
        before = np.full(len(rows), np.nan)
        known = (own != UNKNOWN).all(axis=1)
        if known.any():
            before[known] = measure.score(path[0][known], own[known])
        return [
            SupportReading(
                before=None if np.isnan(b) else float(b), after=float(a), level=LEVEL, outside=not float(a) >= LEVEL
            )
            for b, a in zip(before, after, strict=True)
        ]

    def _labels(
        self,
        row: Row,
        target: Int8[np.ndarray, " K"],
        before: Float64[np.ndarray, " K"] | None,
        after: Float64[np.ndarray, " K"] | None,
    ) -> list[LabelReading]:
        return [
            LabelReading(
                name=name,
                source=int(row.labels[k]),
                inferred=not np.isnan(row.confidence[k]),
                confidence=None if np.isnan(row.confidence[k]) else float(row.confidence[k]),
                target=int(target[k]),
                before=None if before is None else float(before[k]),
                after=None if after is None else float(after[k]),
            )
            for k, name in enumerate(self.names)
        ]


def _texts(pictures: UInt8[np.ndarray, "n s s 3"]) -> list[str]:
    return [as_data_url(picture) for picture in pictures]


def _angle(x: Float32[np.ndarray, " d"], y: Float32[np.ndarray, " d"]) -> float:
    return float(sphere.distance(torch.from_numpy(x).double(), torch.from_numpy(y).double()))
