"""The versions this SDK speaks: its own, and the majors and minor of the sidecar contract."""

SDK_VERSION = "0.1.0"
CONTRACT_MAJORS: tuple[int, ...] = (1,)
CONTRACT_MINOR = 1
