"""Rows kept for faults of what is still to be built."""

from __future__ import annotations

from tests.chaos.fault import Fault

FAULTS = (
    Fault(
        "F18",
        "Core restored from a backup",
        "Core's database is put back to a backup while jobs flow.",
        "20 jobs/s",
        "results of the last day are sent again, what was revoked stays revoked, epochs only rise",
        short=5,
        full=50,
        unit="restores",
        coming="backup and restore",
    ),
    Fault(
        "F19",
        "rolling restart of two Cores",
        "Two replicas on one PostgreSQL are restarted in turn.",
        "20 jobs/s, 200 Runners",
        "lost 0, duplicated 0, gap p99 < 5 s",
        short=2,
        full=20,
        unit="restarts",
        coming="replicas",
    ),
    Fault(
        "F24",
        "certificates rotated under load",
        "A Runner's certificate is renewed every 10 s.",
        "20 jobs/s",
        "lost 0, no session away for more than 2 s",
        short=6,
        full=60,
        unit="rotations",
        coming="certificate rotation",
    ),
)
