"""Who this Runner is to Core: its credential."""
