"""The sidecar as an operating-system process: loading, stdout, the ties to the parent, signals."""
