"""TLS and mutual TLS from files on both doors."""

from __future__ import annotations

import datetime as dt
import json
import os
import ssl
import subprocess
import urllib.request
from pathlib import Path

import grpc
import pytest
import trustme

from aisops_protocol.codec import METHOD_PATH, decode_core_frame, encode_runner_frame
from aisops_protocol.messages import RunnerEnvelope, RunnerFrame, Welcome
from tests.support.core_process import BIN, CoreProcess, until
from tests.support.raw_runner import build_hello

pytestmark = pytest.mark.integration


def write(path: Path, *blobs: trustme.Blob) -> str:
    path.write_bytes(b"".join(blob.bytes() for blob in blobs))
    return str(path)


def greet(port: int, token: str, credentials: grpc.ChannelCredentials) -> object:
    """Say Hello over TLS; return the first message or the status."""
    with grpc.secure_channel(f"localhost:{port}", credentials) as channel:
        frame = RunnerFrame("t_default", "runner-1", (RunnerEnvelope(build_hello()),))
        connect = channel.stream_stream(METHOD_PATH)
        call = connect(iter([encode_runner_frame(frame)]), metadata=[("authorization", f"Bearer {token}")], timeout=20)
        try:
            return decode_core_frame(next(call)).envelopes[0].body
        except grpc.RpcError:
            return dict(call.trailing_metadata() or ()).get("aisops-reason") or call.code()  # type: ignore[attr-defined]


def test_both_doors_speak_tls_and_runners_may_have_to_show_a_certificate(home: Path) -> None:
    ca, strangers = trustme.CA(), trustme.CA()
    server = ca.issue_cert("localhost")
    config = home / "core.toml"
    lines = {
        "tls_cert": write(home / "cert.pem", *server.cert_chain_pems),
        "tls_key": write(home / "key.pem", server.private_key_pem),
        "tls_client_ca": write(home / "ca.pem", ca.cert_pem),
    }
    config.write_text("".join(f"{key} = {json.dumps(value)}\n" for key, value in lines.items()))
    core = CoreProcess(home, ("--config", str(config)))
    process = subprocess.Popen(core.command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        found = json.loads(until(lambda: _text(core.data / "endpoints.json"), "endpoints.json", 30))
        url = found["http"].replace("127.0.0.1", "localhost")
        assert url.startswith("https://")
        token = until(lambda: _text(home / "admin-token"), "the admin token").strip()

        environment = {"PATH": os.environ["PATH"], "AISOPS_URL": url, "AISOPS_TOKEN": token, "HOME": str(home)}
        refused = subprocess.run(
            [BIN / "aisops", "whoami"], env=environment, capture_output=True, text=True, check=False
        )
        assert refused.returncode == 78
        assert "is not trusted" in refused.stderr
        environment["AISOPS_CA_FILE"] = str(home / "ca.pem")
        create = [BIN / "aisops", "runner", "create", "runner-1", "-q"]
        runner_token = subprocess.run(
            create, env=environment, capture_output=True, text=True, check=True
        ).stdout.strip()

        context = ssl.create_default_context(cafile=str(home / "ca.pem"))
        with urllib.request.urlopen(f"{url}/readyz", context=context) as answer:
            assert answer.headers["Strict-Transport-Security"]

        def credentials(leaf: trustme.LeafCert | None) -> grpc.ChannelCredentials:
            if leaf is None:
                return grpc.ssl_channel_credentials(ca.cert_pem.bytes())
            chain = b"".join(blob.bytes() for blob in leaf.cert_chain_pems)
            return grpc.ssl_channel_credentials(ca.cert_pem.bytes(), leaf.private_key_pem.bytes(), chain)

        port = found["grpc_port"]
        past = dt.datetime.now(dt.UTC) - dt.timedelta(days=2)
        expired = ca.issue_cert("r", not_before=past, not_after=past + dt.timedelta(days=1))
        assert isinstance(greet(port, runner_token, credentials(ca.issue_cert("runner-1"))), Welcome)
        for wrong in (None, strangers.issue_cert("runner-1"), expired):
            assert greet(port, runner_token, credentials(wrong)) is grpc.StatusCode.UNAVAILABLE
        assert greet(port, token, credentials(ca.issue_cert("runner-1"))) == "UNAUTHENTICATED"
    finally:
        process.terminate()
        assert process.wait(15) == 0


def _text(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def test_tls_files_that_cannot_be_used_are_named_and_end_78(home: Path) -> None:
    (home / "x.pem").write_text("nonsense")
    environment = {**os.environ, "AISOPSFLOW_TLS_CERT": str(home / "x.pem"), "AISOPSFLOW_TLS_KEY": str(home / "x.pem")}
    done = subprocess.run(
        CoreProcess(home).command, env=environment, capture_output=True, text=True, check=False, timeout=30
    )
    assert done.returncode == 78
    assert "The TLS files cannot be used" in done.stderr
    assert "Traceback" not in done.stderr


def test_renewed_certificate_files_are_taken_up_by_the_next_connection(home: Path) -> None:
    """The gRPC door needs no restart; files that cannot be read meanwhile leave the old certificate in use."""
    old, new = trustme.CA(), trustme.CA()
    cert, key = home / "cert.pem", home / "key.pem"

    def install(ca: trustme.CA) -> None:
        leaf = ca.issue_cert("localhost")
        write(key, leaf.private_key_pem)
        write(cert, *leaf.cert_chain_pems)

    def served(ca: trustme.CA) -> object:
        return greet(core.grpc_port, "x", grpc.ssl_channel_credentials(ca.cert_pem.bytes()))

    install(old)
    core = CoreProcess(home, (), {"AISOPSFLOW_TLS_CERT": str(cert), "AISOPSFLOW_TLS_KEY": str(key)})
    environment = {**os.environ, **core.environment}
    process = subprocess.Popen(core.command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        core.grpc_port = json.loads(until(lambda: _text(core.data / "endpoints.json"), "endpoints.json", 30))[
            "grpc_port"
        ]
        until(lambda: served(old) == "UNAUTHENTICATED", "the first certificate")
        cert.rename(home / "away.pem")
        assert served(old) == "UNAUTHENTICATED", "files that are away for a moment end nothing"
        (home / "away.pem").rename(cert)
        install(new)
        until(lambda: served(new) == "UNAUTHENTICATED", "the renewed certificate")
        assert served(old) is grpc.StatusCode.UNAVAILABLE
    finally:
        process.terminate()
        assert process.wait(15) == 0
