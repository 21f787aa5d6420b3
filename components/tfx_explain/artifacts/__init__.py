"""Artifacts on disk: their types, manifests, readers and writers."""
