"""The way to Core: dialing, one session over one stream, and coming back after a loss."""
