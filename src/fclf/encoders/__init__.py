"""Networks from pictures to unit embeddings, and embedding a folder of pictures with one."""

from fclf.encoders.encoder import Encoder, EncoderFailure, open_encoder
from fclf.encoders.folder import Embedded, Unreadable, embed_folder

__all__ = ["Embedded", "Encoder", "EncoderFailure", "Unreadable", "embed_folder", "open_encoder"]
