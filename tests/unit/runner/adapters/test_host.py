import asyncio
from collections.abc import Awaitable, Sequence
from dataclasses import replace
from importlib.metadata import EntryPoint

import pytest

from aisops_protocol.messages import Capability
from aisops_runner.adapters.calls import Call, CallError, Ended, Outcome
from aisops_runner.adapters.hookspecs import hookimpl
from aisops_runner.adapters.host import REDACTION_FAILED, PluginHost
from aisops_runner.errors import ConfigInvalid


class Echo:
    def __init__(self, name: str, error: BaseException | None = None) -> None:
        self.name, self.error = name, error
        self.calls: list[str] = []
        self.cancelled: list[str] = []

    @hookimpl
    def aisops_capabilities(self) -> list[Capability]:
        return [Capability(f"{self.name}.echo", self.name, "1")]

    @hookimpl
    def aisops_invoke(self, call: Call) -> Awaitable[Outcome]:
        self.calls.append(call.job_id)

        async def answer() -> Outcome:
            if self.error:
                raise self.error
            return Outcome(True, call.input, plugin=self.name)

        return answer()

    @hookimpl
    def aisops_cancel(self, job_id: str) -> None:
        self.cancelled.append(job_id)


def _call(capability: str) -> Call:
    return Call("j", "t", "r", 1, capability, b"{}", "j", 1.0)


async def test_a_call_reaches_the_owner_and_nobody_else() -> None:
    host, one, two = PluginHost(), Echo("one"), Echo("two")
    host.register(one, name="one")
    host.register(two, name="two")
    outcome = await host.invoke(_call("two.echo"))
    assert (outcome.ok, outcome.plugin, one.calls, two.calls) == (True, "two", [], ["j"])
    assert [capability.name for capability in host.capabilities()] == ["one.echo", "two.echo"]


async def test_an_unknown_capability_is_an_outcome() -> None:
    outcome = await PluginHost().invoke(_call("x.y"))
    assert outcome.error is not None
    assert outcome.error.code == "unknown_capability"


@pytest.mark.parametrize("error", [RuntimeError("boom"), SystemExit(1)])
async def test_an_adapter_that_raises_is_ambiguous_and_does_not_end_the_host(error: BaseException) -> None:
    host = PluginHost()
    host.register(Echo("bad", error), name="bad")
    outcome = await host.invoke(_call("bad.echo"))
    assert outcome.error is not None
    assert (outcome.error.code, outcome.error.ambiguous) == ("adapter_failed", True)
    assert host.timings()["aisops_invoke/bad"].failures == 1


class HalfBegun(Echo):
    """Begins the first of several calls, and fails."""

    @hookimpl
    def aisops_begin(self, calls: Sequence[Call], ended: Ended) -> bool:
        self.calls.append(calls[0].job_id)
        raise RuntimeError("boom")


async def test_calls_of_an_adapter_that_fails_while_it_begins_them_are_made_once() -> None:
    host, half, told = PluginHost(), HalfBegun("half"), asyncio.Queue[tuple[str, Outcome | None]]()
    host.register(half, name="half")
    calls = [replace(_call("half.echo"), job_id=job_id) for job_id in ("one", "two")]
    host.begin(calls, lambda outcomes: [told.put_nowait(one) for one in outcomes] and None)
    ends = dict([await told.get(), await told.get()])
    assert half.calls == ["one"]
    assert [outcome.error.ambiguous for outcome in ends.values() if outcome and outcome.error] == [True, True]
    assert told.empty()


async def test_cancellation_passes_through() -> None:
    host = PluginHost()
    host.register(Echo("bad", asyncio.CancelledError()), name="bad")
    with pytest.raises(asyncio.CancelledError):
        await host.invoke(_call("bad.echo"))


async def test_an_adapter_that_cannot_say_what_it_offers_offers_nothing() -> None:
    class Mute:
        @hookimpl
        def aisops_capabilities(self) -> list[Capability]:
            raise RuntimeError

    host = PluginHost()
    host.register(Mute(), name="mute")
    host.register(Echo("one"), name="one")
    assert [capability.name for capability in host.capabilities()] == ["one.echo"]


def test_unregistering_takes_the_capabilities_away() -> None:
    host = PluginHost()
    host.register(Echo("one"), name="one")
    host.unregister("one")
    assert host.capabilities() == ()


def test_cancel_reaches_every_adapter() -> None:
    host, one = PluginHost(), Echo("one")
    host.register(one, name="one")
    host.cancel("j1")
    assert one.cancelled == ["j1"]


class Guard:
    def __init__(self, verdict: object) -> None:
        self.verdict = verdict
        self.seen: list[Outcome] = []

    @hookimpl
    def before_invoke(self, call: Call) -> object:
        if isinstance(self.verdict, Exception):
            raise self.verdict
        return self.verdict

    @hookimpl
    def after_invoke(self, outcome: Outcome) -> None:
        self.seen.append(outcome)
        raise RuntimeError("a broken audit sink changes nothing")

    @hookimpl
    def redact(self, text: str) -> str:
        if text == "raise":
            raise RuntimeError
        return text.replace("hunter2", "***")


@pytest.mark.parametrize(
    ("verdict", "code"),
    [(None, ""), (CallError("frozen", "change freeze"), "frozen"), (RuntimeError(), "hook_failed"), (1, "hook_failed")],
)
async def test_a_guard_decides_and_a_broken_guard_forbids(verdict: object, code: str) -> None:
    host, one, guard = PluginHost(), Echo("one"), Guard(verdict)
    host.register(one, name="one")
    host.register_hooks(guard, name="guard")
    outcome = await host.invoke(_call("one.echo"))
    assert (outcome.error.code if outcome.error else "") == code
    assert bool(one.calls) is not bool(code)
    assert guard.seen == [outcome]


def test_redaction_hooks_run_and_a_failing_one_withholds_the_text() -> None:
    host = PluginHost()
    host.register_hooks(Guard(None), name="guard")
    assert host.redact("my hunter2") == "my ***"
    assert host.redact("raise") == REDACTION_FAILED


def test_only_hooks_on_the_allow_list_are_imported() -> None:
    good = EntryPoint("good", "collections:OrderedDict", "aisops.runner.hooks")
    bad = EntryPoint("bad", "no_such_module_at_all:hooks", "aisops.runner.hooks")
    host = PluginHost()
    host.load_hooks([], [good, bad])
    host.load_hooks(["good"], [good, bad])
    for name in ("bad", "absent"):
        with pytest.raises(ConfigInvalid, match=name):
            host.load_hooks([name], [good, bad])
