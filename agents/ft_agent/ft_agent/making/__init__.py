"""Rows that no source holds: made up, rewritten or answered by a language model, or by the model that is trained."""
