"""Images from embeddings, to look at; nothing is measured on them."""

from fclf.decoder.network import SIZES, ImageDecoder

__all__ = ["SIZES", "ImageDecoder"]
