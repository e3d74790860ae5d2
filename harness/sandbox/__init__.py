"""Isolated machine-like places: one seam, several backends, one implementation of exec."""
