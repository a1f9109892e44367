"""The one way in which commands get pictures of embeddings: a decoder that draws them, a folder that has them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from fclf.decoder import Decoder

PORTRAITS = "portraits"
"""Names the packaged decoder."""
DecoderOption = Annotated[
    str | None,
    typer.Option(
        "--decoder",
        metavar="FILE",
        help="Draws the edits: a file of `fclf decoder train`, or `portraits`.",
    ),
]
ImagesOption = Annotated[
    Path | None,
    typer.Option("--images", metavar="DIR", help="Images named by the rows' ids; of CelebA, the folder will do."),
]


def decoder_of(named: str | None) -> Decoder | None:
    """The decoder of a file, or the packaged one of portraits."""
    if named is None:
        return None
    from fclf.autoencoder import WEIGHTS
    from fclf.decoder import Decoder

    return Decoder.load(WEIGHTS if named == PORTRAITS else named)
