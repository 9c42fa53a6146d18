"""The two command lines: `aisops-core` runs and administers Core, `aisops` is the operator's client of its HTTP API."""
