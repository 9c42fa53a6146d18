"""The same no-op job at every peer. These files run in the benchmark's own environment only."""
