"""How a plugin is kept: what it wishes, what the operator sets, and what is different for one that runs elsewhere."""

from __future__ import annotations

import pytest

from aisops_plugin_sdk.manifest import Manifest
from aisops_runner.adapters.kinds import Foreign, Kind
from aisops_runner.sidecars.restart import Lifecycle, State
from aisops_runner.sidecars.settings import DefaultSettings, supervisor_settings

MANIFEST = Manifest("p", "1", "1", (1,), (), max_concurrency=4)


@pytest.mark.parametrize(
    ("foreign", "set_s", "kept_s"),
    [
        (None, None, 60),
        (None, 5.0, 5),
        (Foreign(Kind.STDIO_JSON, idle_stop_s=7.0), None, 7),
        (Foreign(Kind.STDIO_JSON, idle_stop_s=7.0), 9.0, 9),
    ],
)
def test_the_operators_idle_time_wins_over_the_plugins(
    foreign: Foreign | None, set_s: float | None, kept_s: float
) -> None:
    assert supervisor_settings(MANIFEST, DefaultSettings(idle_stop_s=set_s), foreign).idle_stop_s == kept_s


def test_one_that_never_wants_to_be_restarted_is_set_aside_at_its_first_failure() -> None:
    life = Lifecycle(supervisor_settings(MANIFEST, DefaultSettings(), Foreign(Kind.LOCAL_HTTP, restarts=False)).restart)
    life.starting(0)
    life.failed(1, 0.5, "died")
    assert life.state is State.QUARANTINED


def test_one_that_runs_elsewhere_is_asked_at_once_and_for_ever() -> None:
    settings = supervisor_settings(MANIFEST, DefaultSettings(), Foreign(Kind.URL, url="http://127.0.0.1"))
    assert settings.prewarm
    life, now = Lifecycle(settings.restart), 0.0
    for _ in range(50):
        life.starting(now)
        life.failed(now, 0.99, "away")
        assert life.state is State.BACKOFF
        assert life.wait_s(now) <= 60
        now += life.wait_s(now)
