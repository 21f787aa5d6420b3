"""Peers: each is rebuilt from a network's numpy weights, in an environment of its own."""
