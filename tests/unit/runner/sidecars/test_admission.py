import asyncio

from aisops_runner.sidecars.admission import Admission


async def test_slots_are_bounded_and_the_queue_is_too() -> None:
    admission = Admission("p", slots=1, queue_limit=1)
    assert await admission.enter("j", 1) is None
    waiting = asyncio.create_task(admission.enter("j", 10))
    await asyncio.sleep(0)
    refused = await admission.enter("j", 10)
    assert refused is not None
    assert (refused.code, refused.retryable, refused.ambiguous) == ("plugin_busy", True, False)
    admission.leave("j")
    assert await waiting is None
    assert admission.waiting == 0


async def test_waiting_ends_with_the_calls_own_time() -> None:
    admission = Admission("p", slots=1, queue_limit=9)
    await admission.enter("j", 1)
    late = await admission.enter("j", 0.001)
    assert late is not None
    assert (late.code, late.ambiguous) == ("timeout", False)
    assert admission.waiting == 0


async def test_a_cancelled_waiter_gives_its_place_up() -> None:
    admission = Admission("p", slots=1, queue_limit=1)
    await admission.enter("j", 1)
    waiting = asyncio.create_task(admission.enter("j", 10))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert admission.waiting == 0
    admission.leave("j")
    assert await admission.enter("j", 0.1) is None


async def test_it_knows_whose_calls_are_being_made() -> None:
    admission = Admission("p", slots=2, queue_limit=1)
    await admission.enter("one", 1)
    await admission.enter("one", 1)
    assert (admission.in_flight, admission.busy) == (2, True)
    assert (admission.holds("one"), admission.holds("two")) == (True, False)
    admission.leave("one")
    assert (admission.in_flight, admission.holds("one")) == (1, True)
    admission.leave("one")
    assert (admission.in_flight, admission.busy, admission.holds("one")) == (0, False, False)
