"""Tests; a package, so that the one that IPython puts on the path is not taken for it."""
