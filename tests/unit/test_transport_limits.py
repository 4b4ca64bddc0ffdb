"""The turnstile and the breaker: what is refused before anything is sent, by tables and by a clock that is moved."""

from __future__ import annotations

import time
from contextlib import suppress

import pytest
from test_transport import OK, Scripted, Ticking, sealed, transport

from qaqpa.config.recipients import Breaker as BreakerConfig
from qaqpa.config.recipients import Limits as LimitsConfig
from qaqpa.errors import CircuitOpen, RateLimited
from qaqpa.model.disclosure import Reply
from qaqpa.transport.limits import Breaker, BreakerState, Limits


async def passes(limits: Limits) -> bool:
    try:
        async with limits.turn():
            return True
    except RateLimited:
        return False


async def test_a_bucket_fills_at_its_rate_and_never_above_its_burst() -> None:
    clock = Ticking()
    limits = Limits("r", LimitsConfig(per_second=2, burst=3, wait_s=0), clock)
    table = [(0.0, [True, True, True, False]), (0.5, [True, False]), (0.25, [False]), (0.25, [True, False])]
    for seconds, wanted in [*table, (3600.0, [True, True, True, False])]:
        clock.now += seconds
        assert [await passes(limits) for _ in wanted] == wanted


async def test_no_more_run_at_once_than_allowed_and_a_failed_turn_gives_its_place_back() -> None:
    limits = Limits("r", LimitsConfig(concurrent=2, wait_s=0))
    with suppress(ZeroDivisionError):
        async with limits.turn():
            raise ZeroDivisionError
    async with limits.turn(), limits.turn():
        assert not await passes(limits)
    assert await passes(limits)


async def test_a_disclosure_waits_for_its_turn_no_longer_than_the_configuration_says() -> None:
    limits = Limits("r", LimitsConfig(per_second=2.5, burst=1, concurrent=1, wait_s=0.5))
    async with limits.turn():
        started = time.monotonic()
        assert not await passes(limits)
        assert time.monotonic() - started < 0.75


def test_a_breaker_step_by_step() -> None:
    clock = Ticking()
    breaker = Breaker("r", BreakerConfig(failures=2, open_s=10), clock)
    steps = "enter failed enter succeeded enter failed enter failed closed_to +9 closed_to +1 enter closed_to "
    steps += "failed closed_to +10 enter left enter succeeded enter enter failed enter failed closed_to"
    for step in steps.split():
        if step.startswith("+"):
            clock.now += float(step)
        elif step == "closed_to":
            with pytest.raises(CircuitOpen):
                breaker.enter()
        elif step == "enter":
            was_try = breaker.enter()
        elif step == "succeeded":
            breaker.succeeded()
        else:
            getattr(breaker, step)(was_try=was_try)


def test_the_one_try_stays_one_when_an_older_attempt_ends_meanwhile() -> None:
    clock = Ticking()
    breaker = Breaker("r", BreakerConfig(failures=1, open_s=10), clock)
    old = breaker.enter()  # an old attempt, which takes long
    breaker.failed(was_try=breaker.enter())
    clock.now += 10
    assert breaker.enter()  # the try
    breaker.left(was_try=old)  # the old attempt was cancelled
    with pytest.raises(CircuitOpen):
        breaker.enter()


async def test_a_server_error_that_is_read_as_an_answer_is_no_failure() -> None:
    clock, refusal = Ticking(), Reply(500, b"refused")
    channel = Scripted(*[refusal] * 10, Reply(500, b"?"), refusal, Reply(502, b"?"))
    door = transport(channel, clock=clock, failures=2)
    for _ in range(10):
        door.answered("bureau", await door.send(sealed()))
        assert door.breaker_state("bureau") is BreakerState.CLOSED
    await door.send(sealed())  # nobody came to read it
    door.answered("bureau", OK)
    assert await door.send(sealed()) is refusal
    assert door.breaker_state("bureau") is BreakerState.OPEN, "two in a row that nobody has read"
    clock.now += 30
    await door.send(sealed())  # the one try; its caller goes away before it is read
    assert door.breaker_state("bureau") is BreakerState.OPEN
    clock.now += 30
    channel.script.append(refusal)
    door.answered("bureau", await door.send(sealed()))
    assert door.breaker_state("bureau") is BreakerState.CLOSED
