"""Draws a `Report`; computes nothing."""
