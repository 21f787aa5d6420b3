"""The engine beside its bound and beside its peers: see benchmarks/README.md."""
