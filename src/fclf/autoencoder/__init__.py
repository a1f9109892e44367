"""The portrait autoencoder: portraits to unit embeddings and back."""
