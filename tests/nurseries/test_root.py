"""The root: signals, the drain deadline, the exit code."""

import os
import signal
import subprocess
import sys
import textwrap

import pytest
import trio
from scripted import Diary, at, supervise
from structlog.typing import EventDict
from trio.testing import MockClock

from flux.errors import SettingsError
from flux.nurseries import Child, Exit, ExitCode, Intensity, Kind, run_root, watch_signals


async def kill_after(seconds: float, signum: signal.Signals, diary: Diary) -> None:
    """Send this process a signal at a time on the test's clock, and note when."""
    await trio.sleep(seconds)
    os.kill(os.getpid(), signum)
    diary.note("test", signum.name)
    # The signal reaches trio through a thread-safe queue; let it, before the clock may jump again.
    with trio.move_on_after(0.001):
        await trio.sleep_forever()


async def root(diary: Diary, *children: Child, kills: tuple[tuple[float, signal.Signals], ...], **options):
    """Run a root with signals at given times; return how it ended."""
    intensity = options.pop("intensity", Intensity())
    ends: list[Exit] = []

    async def run() -> None:
        ends.append(await run_root(supervise(*children, intensity=intensity), **options))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run)
        for seconds, signum in kills:
            nursery.start_soon(kill_after, seconds, signum, diary)
    return ends[0]


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
async def test_the_first_signal_drains_in_order_and_the_end_is_clean(
    autojump_clock: MockClock, diary: Diary, logged: list[EventDict], signum: signal.Signals
):
    """Exit code 0, the log names the signal, and the earlier handlers are back."""
    earlier = signal.getsignal(signum)
    end = await root(
        diary,
        Child("a", diary.service("a", cleanup=1)),
        Child("b", diary.service("b", cleanup=1)),
        kills=((5, signum),),
    )
    assert end == Exit(ExitCode.CLEAN, signum.name)
    assert diary.of("end") == ["b", "a"]
    assert [line["signal"] for line in logged if line["event"] == "stop requested"] == [signum.name]
    assert signal.getsignal(signum) is earlier


async def test_the_second_signal_ends_the_process_at_once(autojump_clock: MockClock, diary: Diary, capfd):
    """The code is the shell's for that signal; nothing waits for the drain."""
    codes: list[tuple[float, int]] = []
    await root(
        diary,
        Child("a", diary.service("a", cleanup=4)),
        kills=((5, signal.SIGTERM), (6, signal.SIGINT)),
        exit_now=lambda code: codes.append((round(diary.now()), code)),
    )
    assert codes == [(6, 130)]
    assert "second signal (SIGINT)" in capfd.readouterr().err


async def test_past_the_drain_deadline_the_process_is_ended(
    autojump_clock: MockClock, diary: Diary, logged: list[EventDict]
):
    """What still runs is named; the code is not 0."""
    codes: list[tuple[float, int]] = []
    end = await root(
        diary,
        Child("a", diary.service("a")),
        Child("b", diary.service("b", cleanup=60), shutdown_deadline=100),
        kills=((5, signal.SIGTERM),),
        drain_deadline=10,
        exit_now=lambda code: codes.append((round(diary.now()), code)),
    )
    assert codes == [(15, ExitCode.DEADLINE)]
    assert end.code == ExitCode.DEADLINE
    (line,) = [line for line in logged if line["event"].startswith("drain deadline passed")]
    assert line["still_running"] == ["top/a", "top/b"]


async def test_the_drain_deadline_also_holds_when_the_supervisor_gives_up(
    autojump_clock: MockClock, diary: Diary
):
    """Not only signals begin a stop."""
    codes: list[tuple[float, int]] = []
    end = await root(
        diary,
        Child("a", diary.service("a", cleanup=60), shutdown_deadline=100),
        Child("b", diary.service("b", crashes=at(1))),
        kills=(),
        intensity=Intensity(crashes=0),
        drain_deadline=10,
        exit_now=lambda code: codes.append((round(diary.now()), code)),
    )
    assert codes == [(11, ExitCode.DEADLINE)]
    assert (end.code, "TooManyRestarts" in end.reason) == (ExitCode.FAILED, True)


async def test_a_clean_up_that_failed_is_not_a_clean_end(autojump_clock: MockClock, diary: Diary):
    """The reason names the child."""
    end = await root(
        diary,
        Child("a", diary.service("a")),
        Child("b", diary.service("b", cleanup_error=OSError("flush"))),
        kills=((5, signal.SIGTERM),),
    )
    assert end == Exit(ExitCode.FAILED, "did not stop cleanly: top/b")


async def test_a_wrong_setting_has_its_own_code(autojump_clock: MockClock, diary: Diary):
    """The reason is the error's text alone, fit to be shown as it is."""
    wrong = SettingsError("http.port: 99999 is not a port")
    end = await root(diary, Child("a", diary.service("a", crashes=at(1), error=lambda _: wrong)), kills=())
    assert end == Exit(ExitCode.SETTINGS, "http.port: 99999 is not a port")


async def test_a_root_whose_children_finish_ends_cleanly(autojump_clock: MockClock, diary: Diary):
    """No signal is needed."""
    job = diary.service("job", crashes=at(3), error=lambda _: None)
    end = await root(diary, Child("job", job, kind=Kind.TRANSIENT), kills=())
    assert end == Exit(ExitCode.CLEAN, "every service finished")


async def test_a_cancelled_root_drains_and_raises_cancelled(autojump_clock: MockClock, diary: Diary):
    """Within a larger program the root behaves as any coroutine function."""
    with trio.move_on_after(5) as scope:
        await run_root(supervise(Child("a", diary.service("a", cleanup=2))))
    assert scope.cancelled_caught
    assert diary.times("a", "end") == [7]


async def test_watching_ends_with_its_scope(autojump_clock: MockClock):
    """Cancelled before any signal, it puts the handlers back and calls nothing."""
    earlier = signal.getsignal(signal.SIGTERM)
    called: list[signal.Signals] = []
    async with trio.open_nursery() as nursery:
        await nursery.start(watch_signals, called.append)
        assert signal.getsignal(signal.SIGTERM) is not earlier
        nursery.cancel_scope.cancel()
    assert signal.getsignal(signal.SIGTERM) is earlier
    assert called == []


STUCK = """
    import sys, time, trio
    from flux.nurseries import Child, Supervisor, run_root

    async def stuck(*, task_status=trio.TASK_STATUS_IGNORED):
        task_status.started()
        print("ready", flush=True)
        try:
            await trio.sleep_forever()
        finally:
            print("stopping", flush=True)
            while True:
                time.sleep(0.01)  # never a checkpoint

    trio.run(run_root, Supervisor("top", [Child("stuck", stuck)]))
"""


def test_a_second_signal_ends_a_process_whose_event_loop_is_stuck():
    """A real process in which trio never runs again still obeys the second signal."""
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(STUCK)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            while process.stdout.readline() != "ready\n":
                pass
            process.terminate()
            while process.stdout.readline() != "stopping\n":
                pass
            process.terminate()
            assert process.wait(timeout=10) == 128 + signal.SIGTERM
        finally:
            process.kill()
