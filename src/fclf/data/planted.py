"""A planted embedding set: people, five attributes with CelebA's frequencies, and the truth about every edit."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from jaxtyping import Float64, Int8
from numpy.typing import NDArray

from fclf.data.embeddings import EmbeddingSet
from fclf.data.frequencies import ATTRIBUTES, draw_attributes, frequencies
from fclf.errors import InputError

__all__ = ["ATTRIBUTES", "Geometry", "PlantedTruth", "planted"]

Geometry = Literal["centred", "middle", "cone"]
# Mean cosine of two rows: 0, about .6 as of CLIP's, and .91 as of a network's raw features.
CONE_MEAN = {"centred": 0.0, "middle": 1.6, "cone": 3.9}
IDENTITY_FACTORS = 24
EFFECT = 0.8
ENTANGLED = 0.8  # share of an effect that points where people differ, so that no judge is perfect
PERSONAL = 0.3
NUISANCE = 0.55


@dataclass(frozen=True)
class PlantedTruth:
    """How the embeddings were made, so that the same picture can be made again with other attributes."""

    base: Float64[np.ndarray, "n d"]
    """Everything but the attributes, before projection."""
    identity: Float64[np.ndarray, "n q"]
    effects: Float64[np.ndarray, "K d"]
    personal: Float64[np.ndarray, "K q d"]
    """How a person's factors bend each attribute's effect: nobody wears the same glasses."""
    frequencies: Float64[np.ndarray, " K"]

    def of(self, rows: NDArray[np.intp]) -> PlantedTruth:
        """The truth about some of the rows."""
        return replace(self, base=self.base[rows], identity=self.identity[rows])

    def embed(self, attributes: Int8[np.ndarray, "n K"]) -> Float64[np.ndarray, "n d"]:
        r"""The same people and pictures with these attributes, $\Pi(b + \sum_k (y_k - p_k)(e_k + u P_k))$."""
        amount = attributes - self.frequencies
        bent = np.einsum("nk,nq,kqd->nd", amount, self.identity, self.personal, optimize=True)
        x = self.base + amount @ self.effects + bent
        unit: Float64[np.ndarray, "n d"] = x / np.linalg.norm(x, axis=1, keepdims=True)
        return unit


def planted(
    n: int = 6000, dim: int = 64, *, geometry: Geometry = "centred", per_person: int = 3, seed: int = 0
) -> tuple[EmbeddingSet, PlantedTruth]:
    """Draw `n` embeddings of `n / per_person` people.

    Combinations of attributes are as frequent as in CelebA; Young and Male belong to a person, the others are
    drawn anew for every picture, given those two. Identity factors have a decaying spectrum.

    Args:
        n: rows.
        dim: width of the embeddings, at least 2.
        geometry: `centred` (mean cosine about 0), `middle` (about .6) or `cone` (about .9).
        per_person: pictures of each person.
        seed: of everything.
    """
    if n < 1 or dim < 2 or per_person < 1:
        raise InputError(f"Planted data need n >= 1, dim >= 2 and per_person >= 1, but {n}, {dim}, {per_person} came.")
    rng = np.random.default_rng(seed)
    person = np.arange(n) // per_person
    y = draw_attributes(person, rng)
    k = len(ATTRIBUTES)
    spectrum = np.arange(1, IDENTITY_FACTORS + 1) ** -0.5
    loadings = rng.normal(size=(IDENTITY_FACTORS, dim)) * (spectrum / np.linalg.norm(spectrum) / np.sqrt(dim))[:, None]
    identity = rng.normal(size=(person[-1] + 1, IDENTITY_FACTORS))[person]
    centre = rng.normal(size=dim)
    base = identity @ loadings + rng.normal(size=(n, dim)) * NUISANCE / np.sqrt(dim)
    base += CONE_MEAN[geometry] * centre / np.linalg.norm(centre)
    truth = PlantedTruth(
        base=base,
        identity=identity,
        effects=EFFECT * _directions(loadings, k, rng),
        personal=rng.normal(size=(k, IDENTITY_FACTORS, dim)) * EFFECT * PERSONAL / np.sqrt(dim * IDENTITY_FACTORS),
        frequencies=frequencies(),
    )
    data = EmbeddingSet.from_arrays(
        {
            "embeddings": truth.embed(y).astype(np.float32),
            "attributes": y,
            "attribute_names": np.array(ATTRIBUTES),
            "ids": np.array([f"planted-{row:06d}" for row in range(n)]),
            "identities": person,
        },
        source="planted data",
    )
    return data.with_split(seed), truth


def _directions(loadings: Float64[np.ndarray, "q d"], k: int, rng: np.random.Generator) -> Float64[np.ndarray, "K d"]:
    """Unit effects: mostly in the span of the identity factors, partly anywhere."""

    def unit(x: Float64[np.ndarray, "K d"]) -> Float64[np.ndarray, "K d"]:
        normed: Float64[np.ndarray, "K d"] = x / np.linalg.norm(x, axis=1, keepdims=True)
        return normed

    shared = unit(rng.normal(size=(k, len(loadings))) @ loadings)
    own = unit(rng.normal(size=(k, loadings.shape[1])))
    return unit(ENTANGLED * shared + (1 - ENTANGLED) * own)
