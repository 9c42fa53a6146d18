"""Our own Runner passes every check of the delivery-conformance kit, by the command that others use."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
import trustme

from aisops_protocol.conformance.core import Tls
from aisops_protocol.conformance.findings import Verdict
from aisops_protocol.conformance.registry import every
from aisops_protocol.conformance.run import examine
from aisops_protocol.conformance.station import Settings
from aisops_protocol.session import Identity
from tests.support.conformance import our_runner

pytestmark = [pytest.mark.integration, pytest.mark.xdist_group("conformance")]


@pytest.mark.timeout(360)
def test_every_check_passes(tmp_path: Path) -> None:
    runner = our_runner(tmp_path)
    variables = [part for name, text in runner.env.items() for part in ("--env", f"{name}={text}")]
    command = [sys.executable, "-m", "aisops_protocol.conformance", "--runner", runner.command, *variables]
    done = subprocess.run(
        [*command, "--json", "--junit", str(tmp_path / "junit.xml"), "--patience", "2"],
        check=False, capture_output=True, text=True, timeout=340,
    )  # fmt: skip
    assert done.returncode == 0, f"{shlex.join(command)}\n{done.stderr}"
    report = json.loads(done.stdout)
    assert [one["id"] for one in report["checks"]] == [check.id for check in every()]
    assert {one["verdict"] for one in report["checks"]} == {"passed"}
    suite = ET.parse(tmp_path / "junit.xml").getroot()
    assert (suite.get("tests"), suite.get("failures")) == (str(len(every())), "0")


async def test_over_mutual_tls(tmp_path: Path) -> None:
    authority = trustme.CA()
    server, client = authority.issue_cert("localhost"), authority.issue_cert("runner-1")
    for name, blob in (
        ("ca.pem", authority.cert_pem),
        ("server.pem", server.cert_chain_pems[0]),
        ("server.key", server.private_key_pem),
        ("client.pem", client.cert_chain_pems[0]),
        ("client.key", client.private_key_pem),
    ):
        blob.write_to_path(tmp_path / name)
    runner = our_runner(tmp_path, endpoint="https://localhost:{port}")
    files = {
        "AISOPS_RUNNER_TLS_CERT": str(tmp_path / "client.pem"),
        "AISOPS_RUNNER_TLS_KEY": str(tmp_path / "client.key"),
    }
    runner.env.update(files)  # type: ignore[attr-defined]
    settings = Settings(
        launch=runner,
        identity=Identity("acme", "seoul-1"),
        tls=Tls(tmp_path / "server.pem", tmp_path / "server.key", tmp_path / "ca.pem"),
        ca=tmp_path / "ca.pem",
        patience=2.0,
    )
    chosen = [check for check in every() if check.id in {"hello.first", "hello.credential", "job.runs"}]
    findings = await examine(settings, chosen, lambda _: None)
    assert [one.verdict for one in findings] == [Verdict.PASSED] * 3, findings
