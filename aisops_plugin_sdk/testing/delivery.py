"""What the Runner relies on when it delivers through a capability, as tests that a plugin's author can run.

A job may be called again under its key after a crash; an answer may be lost; a process may be killed. Whether anything
then happens twice is decided by the plugin and its provider, so these behaviours are seen from the provider's side: an
`Upstream` says what it did. `HttpUpstream` makes one of a `FakeProvider`; for another protocol write your own.

    @pytest.mark.parametrize("behaviour", BEHAVIOURS, ids=lambda one: one.__name__)
    async def test_delivery(behaviour):
        async with FakeProvider() as acme:
            acme.always("/messages", {"id": "1"}, status=201)
            upstream = HttpUpstream(acme, "/messages", env={"ACME_TOKEN": "t", "ACME_URL": f"{acme.url}/messages"})
            subject = DeliverySubject(plugin, "acme.send", {"target": "#ops", "text": "hello"}, upstream)
            finding = await examine_delivery(behaviour, subject)
        assert finding.outcome != "failed", finding.reason
"""

import asyncio
import secrets
import signal
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from aisops_plugin_sdk import batch
from aisops_plugin_sdk.plugin import Plugin
from aisops_plugin_sdk.testing.behaviours import Finding, Skipped, examine_one, require
from aisops_plugin_sdk.testing.client import Answer, SidecarClient
from aisops_plugin_sdk.testing.fake_provider import FakeProvider, Received
from aisops_plugin_sdk.testing.plugin_test import PluginTest
from aisops_plugin_sdk.testing.sidecar_process import SidecarProcess

DEADLINE_S = 1.5
LATE_S = 1.0
CALLS = 3


class Upstream(Protocol):
    """A provider's stand-in, as these tests need it. Unless told otherwise it does what it is asked."""

    @property
    def env(self) -> Mapping[str, str]:
        """The plugin's environment, which leads to it."""
        ...

    @property
    def calls(self) -> int:
        """Calls that came in, done or not."""
        ...

    def effects(self) -> Sequence[str]:
        """What was done, in order: each thing under the name by which the provider would know it again."""
        ...

    def lose_answer(self) -> None:
        """Do what the next call asks, and close its connection instead of answering."""
        ...

    def hang(self) -> None:
        """Take the next call and never answer."""
        ...

    async def go_away(self) -> None:
        """Listen no longer."""
        ...


class HttpUpstream:
    """A `FakeProvider` as an `Upstream`. What succeeds must be scripted by `always`.

    Args:
        provider: started.
        path: where effects are asked for.
        env: the plugin's environment, which leads to it.
        name_of: what the provider knows a request again by, such as a header or a field with a key. Requests of one
            name are one effect. None: it knows none again, each request is an effect.
    """

    def __init__(
        self,
        provider: FakeProvider,
        path: str,
        *,
        env: Mapping[str, str],
        name_of: Callable[[Received], str] | None = None,
    ) -> None:
        self.env = env
        self._provider, self._path, self._name_of = provider, path, name_of

    @property
    def calls(self) -> int:
        """Requests to the path."""
        return len(self._provider.to(self._path))

    def effects(self) -> Sequence[str]:
        """The different names, or every request by its place."""
        requests = self._provider.to(self._path)
        if self._name_of is None:
            return [str(place) for place, _ in enumerate(requests)]
        return list(dict.fromkeys(self._name_of(request) for request in requests))

    def lose_answer(self) -> None:
        """Close the next connection after the request."""
        self._provider.drop(self._path)

    def hang(self) -> None:
        """Never answer the next request."""
        self._provider.hang(self._path)

    async def go_away(self) -> None:
        """Listen no longer."""
        await self._provider.stop()


@dataclass(frozen=True, slots=True)
class DeliverySubject:
    """What is examined; make a new one, with a new upstream, for every behaviour.

    Attributes:
        plugin: the plugin.
        capability: one of its capabilities.
        given: an input that it takes.
        upstream: what it leads to.
        installed: name of the plugin's entry point, where it is installed: for what needs a process to kill.
    """

    plugin: Plugin
    capability: str
    given: Mapping[str, Any]
    upstream: Upstream
    installed: str = ""

    @property
    def idempotent(self) -> bool:
        """Whether the capability says that a repetition under the same key has no second effect."""
        found = self.plugin.find(self.capability)
        require(found is not None, f"the plugin has no capability {self.capability}")
        return found is not None and found.spec.effect_class == "idempotent"

    def served(self, *, dry_run: bool = False) -> PluginTest:
        """The plugin's server, in a life of its own: nothing is remembered from another."""
        return PluginTest(self.plugin, env=self.upstream.env, dry_run=dry_run)

    async def call(self, sidecar: PluginTest | SidecarProcess, key: str, **options: Any) -> Answer:
        """Call as the Runner does."""
        return await sidecar.invoke(self.capability, self.given, idempotency_key=key, job_id=key, **options)

    async def called(self, times: int) -> None:
        """Wait until so many calls have reached the upstream."""
        while self.upstream.calls < times:  # noqa: ASYNC110 - an upstream of any protocol sets no event
            await asyncio.sleep(0.005)


Behaviour = Callable[[DeliverySubject], Awaitable[None]]


async def same_key_once(subject: DeliverySubject) -> None:
    """D1: The same call again, at the same time and later: one effect, one answer."""
    key = new_key()
    async with subject.served() as sidecar:
        first, twin = await asyncio.gather(subject.call(sidecar, key), subject.call(sidecar, key))
        later = await subject.call(sidecar, key)
    require(first.ok, f"the call failed: {told(first)}; the upstream should have done it")
    require(first.document == twin.document == later.document, "the repetitions were answered otherwise than the call")
    happened(subject, 1)


async def other_key_again(subject: DeliverySubject) -> None:
    """D2: Another key is another effect, which the provider can tell from the first."""
    async with subject.served() as sidecar:
        for _ in range(2):
            answer = await subject.call(sidecar, new_key())
            require(answer.ok, f"the call failed: {told(answer)}")
    happened(subject, 2)
    require(len(set(subject.upstream.effects())) == 2, "two keys reached the provider as one")


async def same_key_after_restart(subject: DeliverySubject) -> None:
    """D3: The same key in another process has no second effect. Skipped for at most once."""
    if not subject.idempotent:
        raise Skipped("at most once: the Runner never calls again")
    key = new_key()
    for _ in range(2):
        async with subject.served() as sidecar:
            answer = await subject.call(sidecar, key)
            require(answer.ok, f"the call failed: {told(answer)}; a repetition must succeed too")
    happened(subject, 1)


async def lost_answer_is_ambiguous(subject: DeliverySubject) -> None:
    """D4: The answer is lost: ambiguous, and the plugin itself does not ask again."""
    subject.upstream.lose_answer()
    async with subject.served() as sidecar:
        answer = await subject.call(sidecar, new_key())
    require(not answer.ok and answer.ambiguous, f"{told(answer)}; expected a failure that is ambiguous")
    require(subject.upstream.calls == 1, f"{subject.upstream.calls} calls; expected one")


async def lost_answer_is_repaired(subject: DeliverySubject) -> None:
    """D5: Called again in another process after a lost answer, it is done once. Skipped for at most once."""
    if not subject.idempotent:
        raise Skipped("at most once: the Runner never calls again")
    key = new_key()
    subject.upstream.lose_answer()
    async with subject.served() as sidecar:
        await subject.call(sidecar, key)
    async with subject.served() as sidecar:
        answer = await subject.call(sidecar, key)
    require(answer.ok, f"the repetition failed: {told(answer)}")
    happened(subject, 1)


async def unreachable_is_not_ambiguous(subject: DeliverySubject) -> None:
    """D6: Nobody listens: nothing has left, so it is not ambiguous, and trying again may help."""
    await subject.upstream.go_away()
    async with subject.served() as sidecar:
        answer = await subject.call(sidecar, new_key())
    require(not answer.ok, "it succeeded though nobody was there")
    require(not answer.ambiguous, f"{told(answer)}, ambiguous; nothing had left")
    require(answer.retryable, f"{told(answer)}, not retryable; nothing had left")


async def cancelled_is_ambiguous(subject: DeliverySubject) -> None:
    """D7: Cancelled after the request has left: it ends soon, ambiguous, without another call."""
    key = new_key()
    subject.upstream.hang()
    async with subject.served() as sidecar:
        call = asyncio.create_task(subject.call(sidecar, key))
        await subject.called(1)
        await sidecar.client.cancel(key)
        answer = await call
    require(answer.code == "cancelled", f"{told(answer)}; expected cancelled")
    require(answer.ambiguous, "a cancelled call whose request had left was not ambiguous")
    require(subject.upstream.calls == 1, f"{subject.upstream.calls} calls; expected one")


async def deadline_is_ambiguous(subject: DeliverySubject) -> None:
    """D8: The provider does not answer: at the deadline it ends, ambiguous, without another call."""
    subject.upstream.hang()
    async with subject.served() as sidecar:
        begun = time.monotonic()
        answer = await subject.call(sidecar, new_key(), deadline_s=DEADLINE_S)
        took_s = time.monotonic() - begun
    require(not answer.ok and answer.ambiguous, f"{told(answer)}; expected a failure that is ambiguous")
    require(took_s < DEADLINE_S + LATE_S, f"it ended after {took_s:.1f} s; the deadline was {DEADLINE_S} s")
    require(subject.upstream.calls == 1, f"{subject.upstream.calls} calls; expected one")


async def batch_is_many_calls(subject: DeliverySubject) -> None:
    """D9: Calls of a batch are single calls: one answer, one effect a key. Skipped where it serves no batches."""
    if batch.FEATURE not in subject.plugin.manifest().features:
        raise Skipped("the plugin serves single calls only")
    keys = [new_key() for _ in range(CALLS)]
    calls = [(f"{place}", key) for place, key in enumerate([*keys, keys[0]])]
    async with subject.served() as sidecar:
        client: SidecarClient = sidecar.client
        answers = await client.batch([_line(subject, name, key) for name, key in calls])
        repeated = await subject.call(sidecar, keys[1])
    for name, answer in answers.items():
        require(answer.ok, f"call {name} of the batch failed: {told(answer)}")
    require(answers["0"].result == answers[str(CALLS)].result, "a key twice in a batch was answered in two ways")
    require(repeated.result == answers["1"].result, "a single call under a key of the batch was answered otherwise")
    happened(subject, CALLS)


async def killed_in_a_call(subject: DeliverySubject) -> None:
    """D10: Killed in a call, nothing goes on; idempotent, a new process does it once. Skipped when not installed."""
    if not subject.installed:
        raise Skipped("the plugin is not installed under an entry point")
    key = new_key()
    subject.upstream.lose_answer() if subject.idempotent else subject.upstream.hang()
    async with SidecarProcess(subject.installed, env=subject.upstream.env) as process:
        call = asyncio.create_task(subject.call(process, key))
        await subject.called(1)
        process.signal(signal.SIGKILL)
        await process.wait()
        await asyncio.gather(call, return_exceptions=True)
    require(subject.upstream.calls == 1, f"{subject.upstream.calls} calls; something went on after the kill")
    if subject.idempotent:
        async with SidecarProcess(subject.installed, env=subject.upstream.env) as process:
            answer = await subject.call(process, key)
        require(answer.ok, f"the repetition failed: {told(answer)}")
        happened(subject, 1)


async def dry_run_does_nothing(subject: DeliverySubject) -> None:
    """D11: In a dry run it succeeds and nothing leaves."""
    async with subject.served(dry_run=True) as sidecar:
        answer = await subject.call(sidecar, new_key())
    require(answer.ok, f"the dry run failed: {told(answer)}")
    require(subject.upstream.calls == 0, f"{subject.upstream.calls} calls left in a dry run")


BEHAVIOURS: tuple[Behaviour, ...] = (
    same_key_once,
    other_key_again,
    same_key_after_restart,
    lost_answer_is_ambiguous,
    lost_answer_is_repaired,
    unreachable_is_not_ambiguous,
    cancelled_is_ambiguous,
    deadline_is_ambiguous,
    batch_is_many_calls,
    killed_in_a_call,
    dry_run_does_nothing,
)


async def examine_delivery(behaviour: Behaviour, subject: DeliverySubject) -> Finding:
    """Run one behaviour and say how it went; called by itself, it raises AssertionError or `Skipped`."""
    return await examine_one(behaviour, subject)


def new_key() -> str:
    """A key that was never used."""
    return f"key-{secrets.token_hex(8)}"


def told(answer: Answer) -> str:
    """An answer in words."""
    return f"{answer.status} {answer.code or 'ok'}{f' ({answer.error})' if answer.error else ''}"


def happened(subject: DeliverySubject, times: int) -> None:
    """Raise AssertionError unless the provider has done so much."""
    effects = subject.upstream.effects()
    require(len(effects) == times, f"{len(effects)} effects at the provider ({', '.join(effects)}); expected {times}")


def _line(subject: DeliverySubject, name: str, key: str) -> dict[str, Any]:
    """One call of a batch, with the facts that a single one has."""
    return {
        "id": name,
        "capability": subject.capability,
        "input": subject.given,
        "job_id": key,
        "tenant_id": "t_default",
        "runner_id": "runner-1",
        "attempt": 1,
        "idempotency_key": key,
    }
