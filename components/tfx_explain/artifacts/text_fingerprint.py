"""Fingerprint of a text."""

from __future__ import annotations

import hashlib


def text_fingerprint(text: str) -> str:
    """SHA-256 of text, in hexadecimal."""
    return hashlib.sha256(text.encode()).hexdigest()
