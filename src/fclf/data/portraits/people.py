"""Who is drawn and how: people's factors, each picture's circumstances, and attributes with CelebA's frequencies."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float32, Int8, Int64
from numpy.typing import NDArray

from fclf.data.frequencies import ATTRIBUTES, draw_attributes
from fclf.errors import InputError

__all__ = ["CIRCUMSTANCES", "FACTORS", "Sitters", "sitters"]

FACTORS = (
    "face_width", "face_length", "jaw", "skin", "skin_hue", "hair_dark", "hair_red", "hair_length", "fringe",
    "eye_size", "eye_distance", "eye_colour", "brow", "nose_length", "nose_width", "mouth_width", "lips", "frames",
)  # fmt: skip
"""What makes a person, each uniform in [-1, 1]."""
CIRCUMSTANCES = (
    "yaw", "roll", "scale", "right", "down", "light_x", "light_y", "brightness", "ground_hue", "ground_light",
    "shirt_hue", "shirt_light", "smile", "gaze",
)  # fmt: skip
"""What differs between pictures of one person, each uniform in [-1, 1]."""


@dataclass(frozen=True)
class Sitters:
    """Everything that a portrait is drawn from, one row a picture."""

    attributes: Int8[np.ndarray, "n K"]
    """0 or 1; columns are `fclf.data.frequencies.ATTRIBUTES`."""
    factors: Float32[np.ndarray, "n F"]
    """Columns are `FACTORS`; the same in all pictures of a person."""
    circumstances: Float32[np.ndarray, "n C"]
    """Columns are `CIRCUMSTANCES`."""
    identities: Int64[np.ndarray, " n"]

    def __len__(self) -> int:
        return len(self.attributes)

    def take(self, rows: NDArray[np.bool_] | NDArray[np.intp] | slice) -> Sitters:
        """Some of the pictures."""
        return Sitters(self.attributes[rows], self.factors[rows], self.circumstances[rows], self.identities[rows])

    def showing(self, attributes: Int8[np.ndarray, "n K"]) -> Sitters:
        """The same people in the same circumstances with other attributes: exact counterfactuals."""
        if attributes.shape != self.attributes.shape:
            raise InputError(
                f"`attributes` has shape {attributes.shape}, but the pictures need {self.attributes.shape}: "
                f"one row a picture, columns {', '.join(ATTRIBUTES)}."
            )
        return replace(self, attributes=attributes)


def sitters(n: int, *, per_person: int = 4, seed: int = 0) -> Sitters:
    """Draw people and circumstances.

    Young and Male are a person's own and the same in all of their pictures; the others are drawn for every picture
    from their joint frequencies in CelebA given those.

    Args:
        n: pictures.
        per_person: pictures of each person.
        seed: of everything. The first pictures of a larger set are not those of a smaller one.
    """
    if n < 1 or per_person < 1:
        raise InputError(f"Portraits need n >= 1 and per_person >= 1, but {n} and {per_person} came.")
    rng = np.random.default_rng(seed)
    person = np.arange(n, dtype=np.int64) // per_person
    attributes = draw_attributes(person, rng)
    factors = rng.uniform(-1, 1, size=(int(person[-1]) + 1, len(FACTORS)))[person]
    circumstances = rng.uniform(-1, 1, size=(n, len(CIRCUMSTANCES)))
    return Sitters(attributes, factors.astype(np.float32), circumstances.astype(np.float32), person)
