"""Runners for the delivery-conformance kit to be pointed at: ours with its test plugin, and the small one."""

from __future__ import annotations

import sys
from pathlib import Path

from aisops_protocol.conformance.process import Launch
from tests.support.small_runner.faults import Fault

ROOT = Path(__file__).resolve().parents[2]
PLUGIN = ROOT / "plugins" / "conformance"


def small_runner(fault: Fault = Fault.NONE, *, holds: int = 0) -> Launch:
    """The small runner, right or wrong.

    Args:
        fault: What is wrong with it.
        holds: It takes no job beyond so many; 0: it takes all.
    """
    command = f"{sys.executable} -m tests.support.small_runner {fault}"
    return Launch(command, {"PYTHONPATH": str(ROOT), "SMALL_RUNNER_HOLDS": str(holds)})


def our_runner(folder: Path, *, endpoint: str = "{endpoint}") -> Launch:
    """`aisops-runner` in an environment that has the plugin.

    Args:
        folder: Where the plugin's metadata is put, as an installation would.
        endpoint: Where it finds Core.
    """
    metadata = folder / "aisops_plugin_conformance-0.1.0.dist-info"
    metadata.mkdir()
    name = "Metadata-Version: 2.1\nName: aisops-plugin-conformance\nVersion: 0.1.0\n"
    (metadata / "METADATA").write_text(name, encoding="utf-8")
    entry = "[aisops.plugins]\nconformance = aisops_plugin_conformance:plugin\n"
    (metadata / "entry_points.txt").write_text(entry, encoding="utf-8")
    env = {
        "PYTHONPATH": f"{folder}:{PLUGIN}",
        "CORE_GRPC_ENDPOINT": endpoint,
        "TENANT_ID": "{tenant}",
        "RUNNER_ID": "{runner}",
        "AISOPS_RUNNER_TOKEN_FILE": "{token_file}",
        "AISOPS_RUNNER_DATA_DIR": "{data}",
        "AISOPS_RUNNER_JOB_SLOTS": "4",
        "AISOPS_RUNNER_TLS_CA": "{ca}",
    }
    return Launch(f"{Path(sys.executable).with_name('aisops-runner')} run", env)
