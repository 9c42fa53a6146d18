"""The Runner's local door: a Unix socket that only its own user can open."""
