"""The checks, one subject a module; each registers itself (see `registry.every`)."""
