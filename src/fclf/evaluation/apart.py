"""Judges that know no row that they are not to know: neither one that was trained on, nor one that is judged."""

from __future__ import annotations

from collections.abc import Iterable

from fclf.checkpoint import Checkpoint
from fclf.data.embeddings import EmbeddingSet
from fclf.errors import InputError

__all__ = ["MOST_COPIES", "judges_apart", "without_copies"]

MOST_COPIES = 0.1
"""Share of the judge rows that may be copies of others and are left out; more are no accident but another split."""


def judges_apart(checkpoint: Checkpoint, data: EmbeddingSet, split: str) -> tuple[EmbeddingSet, int]:
    """The labelled judge rows of `data` that are no copy of a row that training has read or that is evaluated.

    The same picture may stand in a file twice, under two ids or two people, and a column `split` may part its copies.

    Args:
        checkpoint: what was trained.
        data: with a split.
        split: which is evaluated.

    Returns:
        the rows, and how many were left out.

    Raises:
        InputError: if training has read rows of these ids or people, or more than `MOST_COPIES` are copies.
    """
    judge = data.part("judge").labelled()
    if shared := checkpoint.shared_ids(judge):
        raise InputError(_trained_on(shared, len(judge)))
    seen = checkpoint.has_read(judge)
    if seen.mean() > MOST_COPIES:
        raise InputError(_trained_on(int(seen.sum()), len(judge)))
    if people := checkpoint.shared_people(judge.take(~seen), data):
        raise InputError(
            f"{people} of {len(judge)} judge rows show people whom this checkpoint was trained on. Use the split "
            "that it was trained with, or one that keeps people apart."
        )
    return without_copies(judge, [*checkpoint.seen_digests, *data.part(split).row_digests()])


def without_copies(judge: EmbeddingSet, known: Iterable[str]) -> tuple[EmbeddingSet, int]:
    """The judge rows whose content (`EmbeddingSet.row_digests`) is not `known`, and how many others there were.

    Raises:
        InputError: if the others are more than `MOST_COPIES` of them.
    """
    copies = judge.known_by(known)
    if copies.mean() > MOST_COPIES:
        raise InputError(
            f"{int(copies.sum())} of {len(judge)} judge rows are copies of rows that are trained on or evaluated, so "
            "the judges would know them. Leave `split` out of the file, which keeps copies together, or take the "
            "copies out."
        )
    return (judge.take(~copies) if copies.any() else judge), int(copies.sum())


def _trained_on(shared: int, count: int) -> str:
    return (
        f"{shared} of {count} judge rows were used to train this checkpoint, so the judges would know what the flow "
        "knows. Use the split that the checkpoint was trained with. If you do, the same embedding stands in many rows "
        "(fclf inspect counts them): give copies one identity, or take them out, and train again."
    )
