"""Images from embeddings, to look at; nothing is measured on them."""

from fclf.decoder.network import SIZES, ImageDecoder
from fclf.decoder.state import Decoder

__all__ = ["SIZES", "Decoder", "ImageDecoder"]
