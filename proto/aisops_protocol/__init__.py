"""The Core-Runner contract of AIsOpsFlow: messages, codec, the sans-IO session and resuming. No I/O, no clock."""
