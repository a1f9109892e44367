"""Colours that everybody can tell apart."""

from __future__ import annotations

__all__ = ["COLOURS", "DIVERGING", "REST"]

# Okabe & Ito, Color Universal Design, 2008: seven colours that everybody can tell apart; grey is the rest.
COLOURS = ("#0072B2", "#E69F00", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#009E73")
REST = "#B5B5B5"
DIVERGING = "PuOr_r"
"""Purple to orange through white (Brewer): its ends differ in hue for every kind of colour vision."""
