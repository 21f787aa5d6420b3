"""Where files are, whatever folder a reader stands in."""

import os
import urllib.parse


def absolute(uri: str) -> str:
    """A path from the root; a URI with a scheme, as `gs://bucket/file`, is one already."""
    return uri if "://" in uri else os.path.abspath(uri)


def link(folder: str, target: str) -> str:
    """How a page in `folder` links to a file: relative, so that it works wherever both were moved or are served from.

    Empty where either has a scheme, as `gs://bucket/file`: no browser opens those.
    """
    if "://" in folder or "://" in target:
        return ""
    path = os.path.relpath(os.path.abspath(target), os.path.abspath(folder))
    # A name may hold what means something in a URL (`%`, `#`, `?`, a colon before the first slash), and any bytes.
    return urllib.parse.quote(os.fsencode(path.replace(os.sep, "/")))
