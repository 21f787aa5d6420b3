"""Statistics over explained rows: bins, sums per hash bucket, intervals, comparisons. Plain numpy."""
