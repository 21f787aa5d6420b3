"""Checks: each measures one thing and gives results; one file a check, listed in `registry`."""
