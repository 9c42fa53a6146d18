"""The behaviours every sidecar must show, run against a real process in dry-run mode.

They are the nine basic ones of the original's plugin API, so they also hold for clients written for it, plus three of
ours: the ready line, the end with stdin, and silence about secrets.
"""

import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from aisops_plugin_sdk import batch, contracts, signing
from aisops_plugin_sdk.manifest import Manifest
from aisops_plugin_sdk.testing.behaviours import Finding, Skipped, examine_one, require
from aisops_plugin_sdk.testing.client import Answer, SidecarClient
from aisops_plugin_sdk.testing.sidecar_process import SidecarProcess

SEND_LIMIT_S = 1.0
DELAY_MS = 300
STDIN_LIMIT_S = 2.0


@dataclass(frozen=True, slots=True)
class Subject:
    """What is examined.

    Attributes:
        process: the running sidecar, in dry-run mode.
        manifest: as it serves it.
        env: the environment it was given.
        body: what is sent to its channel.
    """

    process: SidecarProcess
    manifest: Manifest
    env: Mapping[str, str]
    body: Mapping[str, str]

    @property
    def client(self) -> SidecarClient:
        """The signing client."""
        return self.process.client

    @property
    def call_target(self) -> str:
        """A route that takes a JSON body: /send of a channel, else its first capability."""
        return "/send" if self.manifest.channel else f"/v1/invoke/{self.manifest.capabilities[0].name}"

    def need_channel(self) -> None:
        """Skip behaviours of POST /send for a plugin without a channel."""
        if self.manifest.channel is None:
            raise Skipped("the plugin has no channel capability")


async def probe(subject: Subject) -> None:
    """1: POST /probe without signature: 200, ok."""
    answer = await subject.client.post("/probe", b"{}", signed=False)
    _expect(answer, 200)
    contracts.validate(answer.document, "probe-v1")


async def send(subject: Subject) -> None:
    """2: Signed POST /send with target and text: 200, ok, within 1 s."""
    subject.need_channel()
    started = time.monotonic()
    answer = await subject.client.send(subject.body)
    _expect(answer, 200)
    contracts.validate(answer.document, "invoke-result-v1")
    took = time.monotonic() - started
    require(took <= SEND_LIMIT_S, f"it took {took:.2f} s")


async def signature(subject: Subject) -> None:
    """3: Unsigned, wrongly signed, or 301 s old: 401; 300 s pass."""
    now = time.time()
    _expect(await subject.client.get("/describe", signed=False), 401)
    _expect(await subject.client.get("/describe", headers={signing.SIGNATURE_HEADER: "sha256=AAAA"}), 401)
    _expect(await subject.client.get("/describe", headers={signing.AUTH_HEADER: "wrong"}), 401)
    _expect(await subject.client.get("/describe", now=now - 301), 401)
    # A stamp from the future comes nearer while the call travels, so that exactly 300 s cannot turn into 301.
    _expect(await subject.client.get("/describe", now=now + 300), 200)


async def malformed_json(subject: Subject) -> None:
    """4: Signed malformed JSON: 400, in JSON."""
    _expect(await subject.client.post(subject.call_target, b'{"target":'), 400)


async def missing_field(subject: Subject) -> None:
    """5: Signed call with a field missing: 400."""
    body = {"text": "no target"} if subject.manifest.channel else {"no_such_field": 1}
    _expect(await subject.client.post(subject.call_target, body), 400)


async def no_token(subject: Subject) -> None:
    """6: Without a configured token: 503."""
    env = {**subject.env, "AISOPSFLOW_INTERNAL_AUTH_TOKEN": ""}
    async with SidecarProcess(subject.process.name, env=env, dry_run=True) as process:
        _expect(await process.client.get("/describe"), 503)


async def too_large(subject: Subject) -> None:
    """7: A body over the limit: 413."""
    body = b'{"text":"' + b"x" * (subject.manifest.body_limit_bytes + 6000) + b'"}'
    _expect(await subject.client.post(subject.call_target, body), 413)


async def signed_query(subject: Subject) -> None:
    """8: A query string is part of the signature."""
    _expect(await subject.client.get("/describe?trace=a%20b"), 200)
    token = subject.process.token
    other = signing.headers(token, now=time.time(), method="GET", raw_target="/describe", body=b"")
    _expect(await subject.client.get("/describe?trace=a%20b", signed=False, headers=other), 401)


async def dry_run_delay(subject: Subject) -> None:
    """9: In dry-run mode ?delay_ms delays the answer of /send."""
    subject.need_channel()
    started = time.monotonic()
    _expect(await subject.client.post(f"/send?delay_ms={DELAY_MS}", subject.body), 200)
    took = time.monotonic() - started
    require(took >= DELAY_MS / 1000, f"it answered after {took:.3f} s")


async def every_error_is_json(subject: Subject) -> None:
    """10: Unknown path, wrong method and unknown capability: JSON errors of the contract."""
    for answer, status in (
        (await subject.client.get("/no/such/path"), 404),
        (await subject.client.get("/send"), 405),
        (await subject.client.post("/v1/invoke/no.such", {}), 404),
    ):
        _expect(answer, status)
        contracts.validate(answer.document, "error-v1")


async def no_secret_shown(subject: Subject) -> None:
    """11: No secret in the manifest, in errors or in the output."""
    await subject.client.post(subject.call_target, b'{"target":')
    shown = str((await subject.client.get("/describe")).document) + str(subject.process.lines)
    secrets = [subject.env[env.name] for env in subject.manifest.env if env.secret and subject.env.get(env.name)]
    for secret in [subject.process.token, *(text for text in secrets if len(text) >= 4)]:
        require(secret not in shown and secret not in subject.process.stderr, "a secret is shown")


async def many_in_one(subject: Subject) -> None:
    """12: A batch: one answer for each call, as the single call has it. Skipped where it is not announced."""
    if batch.FEATURE not in subject.manifest.features:
        raise Skipped("the plugin serves single calls only")
    name = subject.manifest.capabilities[0].name
    answers = await subject.client.batch(
        [
            {"id": "unknown", "capability": "no.such", "input": {}},
            {"id": "refused", "capability": name, "input": {"no_such_field": 1}},
            {"id": "header", "capability": name, "job_id": "two words", "input": {}},
        ]
    )
    for identity, status in (("unknown", 404), ("refused", 400), ("header", 400)):
        _expect(answers[identity], status)
        contracts.validate(answers[identity].document, "error-v1")
    for body in (b"", b"[]\n", b'{"id":"1","capability":"%b"}\n' % name.encode()):
        _expect(await subject.client.post(batch.TARGET, body), 400)
    _expect(await subject.client.post(batch.TARGET, b"", signed=False), 401)


async def ends_with_stdin(subject: Subject) -> None:
    """13: When stdin ends, it ends within 2 s."""
    started = time.monotonic()
    subject.process.close_stdin()
    await subject.process.wait()
    took = time.monotonic() - started
    require(took <= STDIN_LIMIT_S, f"it took {took:.2f} s")


BEHAVIOURS: tuple[Callable[[Subject], Awaitable[None]], ...] = (
    probe,
    send,
    signature,
    malformed_json,
    missing_field,
    no_token,
    too_large,
    signed_query,
    dry_run_delay,
    every_error_is_json,
    no_secret_shown,
    many_in_one,
    ends_with_stdin,
)


async def examine(process: SidecarProcess, *, env: Mapping[str, str], body: Mapping[str, str]) -> list[Finding]:
    """Run every behaviour against a running sidecar; it has ended afterwards.

    Args:
        process: the sidecar, started in dry-run mode with `env`.
        env: the environment it was given.
        body: what its channel is sent.

    Raises:
        ManifestError: what it serves as its manifest is none.
    """
    manifest = Manifest.parse((await process.client.get("/describe")).result)
    subject = Subject(process, manifest, env, body)
    return [await examine_one(behaviour, subject) for behaviour in BEHAVIOURS]


def _expect(answer: Answer, status: int) -> None:
    """Require a status and the `ok` that belongs to it."""
    seen = f"answered {answer.status}" + (f" {answer.code}: {answer.error}" if answer.error else "")
    require(answer.status == status, f"{seen}; expected {status}")
    require(answer.ok == (status < 300), f"{seen} with ok={answer.document.get('ok')!r}")
