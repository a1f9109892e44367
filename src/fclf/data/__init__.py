"""Embeddings with attributes, the edits asked of them, and a planted set whose truth is known."""
