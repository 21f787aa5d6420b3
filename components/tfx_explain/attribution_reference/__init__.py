"""AttributionReference: what the last models that passed looked like, and what comparisons pin."""
