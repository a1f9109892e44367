"""The one way in which commands get pictures of embeddings: a decoder that draws them, a folder that has them."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from fclf.decoder import Decoder

PORTRAITS = "portraits"

DecoderOption = Annotated[
    str | None,
    typer.Option(
        "--decoder",
        metavar=f"FILE|{PORTRAITS}",
        help=f"Draws the edits: a file of `fclf decoder train`, or '{PORTRAITS}' for fclf's own portraits.",
    ),
]
ImagesOption = Annotated[
    Path | None,
    typer.Option("--images", metavar="DIR", help="Images named by the rows' ids; of CelebA, the folder will do."),
]


def decoder_of(named: str | None) -> Decoder | None:
    """The decoder of a file, or the one of fclf's own portraits."""
    if named is None:
        return None
    from fclf.decoder import Decoder

    return Decoder.load(import_module("fclf.autoencoder").WEIGHTS if named == PORTRAITS else Path(named))
