"""Embeddings in many files, local or at any fsspec address, of which no more is read than is needed."""
