"""Where files are, whatever folder a reader stands in."""

import os


def absolute(uri: str) -> str:
    """A path from the root; a URI with a scheme, as `gs://bucket/file`, is one already."""
    return uri if "://" in uri else os.path.abspath(uri)
