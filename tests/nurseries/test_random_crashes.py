"""Invariants of supervision under random crash schedules."""

from random import Random

import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st
from scripted import Diary

from flux.metrics import REGISTRY
from flux.nurseries import Backoff, Child, Intensity, Kind, Strategy, Supervisor, TooManyRestarts

seconds = st.sampled_from([0.0, 0.5, 1.0, 2.0, 3.0, 7.0])

plans = st.fixed_dictionaries(
    {
        "kind": st.sampled_from(Kind),
        "startup": seconds,
        "cleanup": seconds,
        "crashes": st.lists(st.one_of(st.none(), seconds), max_size=4),
        "returns": st.lists(st.booleans(), min_size=4, max_size=4),
        "fails_stop": st.booleans(),
        "shutdown": st.sampled_from([0.5, 5.0]),
    }
)


def total(supervisor: str) -> float:
    """Return all crashes that a supervisor counted."""
    return sum(
        sample.value
        for family in REGISTRY.collect()
        for sample in family.samples
        if sample.name == "flux_supervisor_crashes_total" and sample.labels["supervisor"] == supervisor
    )


@settings(max_examples=150, deadline=None)
@given(
    plan=st.lists(plans, min_size=1, max_size=4),
    strategy=st.sampled_from(Strategy),
    crashes=st.sampled_from([1, 4, None]),
    until=st.sampled_from([0.0, 1.0, 4.0, 20.0, 60.0]),
    seed=st.integers(0, 100),
)
def test_whatever_crashes_the_promises_hold(plan, strategy, crashes, until, seed):
    """One instance a child; reverse stop; every crash counted; nothing outlives the supervisor."""
    trio.run(check, plan, strategy, crashes, until, seed, clock=trio.testing.MockClock(autojump_threshold=0))


async def check(plan, strategy, crashes, until, seed) -> None:
    """Run one schedule; `Diary.service` asserts by itself that no two instances run at once."""
    diary = Diary()
    children = [
        Child(
            f"c{i}",
            diary.service(
                f"c{i}",
                startup=p["startup"],
                crashes=lambda run, p=p: p["crashes"][run - 1] if run <= len(p["crashes"]) else None,
                error=lambda run, p=p: None if p["returns"][run - 1] else ValueError(str(run)),
                cleanup=p["cleanup"],
                cleanup_error=OSError() if p["fails_stop"] else None,
            ),
            kind=p["kind"],
            shutdown_deadline=p["shutdown"],
        )
        for i, p in enumerate(plan)
    ]
    before = total("random")
    top = Supervisor(
        "random",
        children,
        strategy=strategy,
        intensity=Intensity(crashes=crashes, window=30),
        backoff=Backoff(initial=0.5, cap=4),
        rng=Random(seed),
    )
    stop_began: list[float] = []

    async def watch() -> None:
        await top.wait_stopping()
        stop_began.append(diary.now())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch)
        try:
            with trio.move_on_after(until):
                await top()
        except TooManyRestarts as error:
            assert len(error.errors) == crashes + 1  # noqa: PT017 - it need not be raised
        entries = len(diary.entries)
    assert not diary.running
    await trio.sleep(100)
    assert len(diary.entries) == entries, "something ran after the supervisor had ended"

    names = [child.name for child in children]
    kinds = {child.name: child.kind for child in children}
    returns = [name for name in diary.of("return") if kinds[name] is Kind.PERMANENT]
    failed_stops = [name for name in diary.of("cancelled") if plan[names.index(name)]["fails_stop"]]
    # A permanent child that returns while the supervisor stops is no crash; it may hit the same instant.
    during_stop = [
        n for t, n, w in diary.entries if w == "return" and kinds[n] is Kind.PERMANENT and t >= stop_began[0]
    ]
    most = len(diary.of("crash")) + len(returns) + len(failed_stops)
    assert most - len(during_stop) <= total("random") - before <= most

    begin = stop_began[0]
    stopped = [name for time, name, what in diary.entries if what == "cancelled" and time > begin]
    assert stopped == sorted(stopped, key=names.index, reverse=True)
    for child in children:
        if child.kind is Kind.TEMPORARY:
            assert len(diary.times(child.name, "start")) <= 1
