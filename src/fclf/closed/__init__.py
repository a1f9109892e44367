"""Closed forms: edits that are fitted in one go, without a training loop. Fast, strong, and what a flow must beat."""
