"""The AIsOpsFlow Runner: dials out to Core and runs jobs through supervised plugin sidecars."""
