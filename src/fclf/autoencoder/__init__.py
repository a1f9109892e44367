"""The portrait autoencoder: portraits to unit embeddings and back."""

from fclf.autoencoder.network import DIM, Encoder, embed
from fclf.autoencoder.portraits import WEIGHTS, load_encoder, portrait_set, save
from fclf.autoencoder.training import Autoencoder, AutoencoderSettings, train_autoencoder

__all__ = [
    "DIM",
    "WEIGHTS",
    "Autoencoder",
    "AutoencoderSettings",
    "Encoder",
    "embed",
    "load_encoder",
    "portrait_set",
    "save",
    "train_autoencoder",
]
