"""What an autoencoder is worth, on people it was not trained on."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float32, Int64
from pydantic import BaseModel, ConfigDict
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score

from fclf.autoencoder.network import embed
from fclf.autoencoder.training import Autoencoder
from fclf.data.frequencies import ATTRIBUTES
from fclf.data.portraits import draw, sitters
from fclf.decoder import Decoder

__all__ = ["AutoencoderFigures", "measure"]

PORTRAITS = 6_000
SEED = 1
"""Of portraits that training never drew."""


class AutoencoderFigures(BaseModel):
    """Measures on portraits of other people."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    judges: dict[str, float]
    """Balanced accuracy of a linear judge of each attribute, on people that neither network nor judge has seen."""
    judges_decoded: dict[str, float]
    """The same judges on embeddings of decoded pictures."""
    rank1: float
    """Share of pictures whose nearest other picture shows the same person."""
    rank1_decoded: float
    """The same where the query is the embedding of the decoded picture; the picture itself is left out."""
    pixel_error: float
    """Mean absolute error of decoded pictures, of 1."""
    mean_picture_error: float
    """The same of the mean picture."""


def measure(model: Autoencoder, *, portraits: int = PORTRAITS, seed: int = SEED) -> AutoencoderFigures:
    """Draw new people, embed, decode and embed again."""
    people = sitters(portraits, seed=seed)
    pictures = draw(people)
    z = embed(pictures, model.encoder)
    decoded = Decoder(model.decoder).decode(z)
    again = embed(decoded, model.encoder)
    first = people.identities < people.identities[-1] // 2
    judges, judges_decoded = {}, {}
    for name, labels in zip(ATTRIBUTES, people.attributes.T, strict=True):
        judge = LogisticRegression(C=100, class_weight="balanced", max_iter=1000).fit(z[first], labels[first])
        judges[name] = float(balanced_accuracy_score(labels[~first], judge.predict(z[~first])))
        judges_decoded[name] = float(balanced_accuracy_score(labels[~first], judge.predict(again[~first])))
    real = pictures.astype(np.float32)
    return AutoencoderFigures(
        judges=judges,
        judges_decoded=judges_decoded,
        rank1=_rank_one(z, z, people.identities),
        rank1_decoded=_rank_one(again, z, people.identities),
        pixel_error=float(np.abs(decoded - real).mean() / 255),
        mean_picture_error=float(np.abs(real - real.mean(axis=0)).mean() / 255),
    )


def _rank_one(
    queries: Float32[np.ndarray, "n d"], rows: Float32[np.ndarray, "n d"], person: Int64[np.ndarray, " n"]
) -> float:
    similarity = queries @ rows.T
    np.fill_diagonal(similarity, -np.inf)
    return float((person[similarity.argmax(axis=1)] == person).mean())
