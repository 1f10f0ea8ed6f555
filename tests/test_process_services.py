"""The services of a process: topic creation, the door, the announcement, the search for a broker."""

import os
import socket
from datetime import timedelta
from pathlib import Path

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from flux.banner import Banner
from flux.nurseries import State, Supervisor
from flux.runtime import NAME, Running, announce, find
from flux.services import Announcement, BrokerMovedError, DoorService, LocalBroker, PortError, TopicCreation
from flux.transport.door import Door
from flux.transport.kafka.bus import Topic
from flux.transport.kafka.memory import MemoryBus

TOPIC = Topic("a.service.event.updated", producer="a", consumer="bff", retention=timedelta(hours=1))
HERE = Running(os.getpid(), "http://127.0.0.1:1", "127.0.0.1:2", embedded=True)
BANNER = Banner(
    version="1", url="http://127.0.0.1:1", broker="127.0.0.1:2", providers="simulated", runs=("bff",)
)


async def test_topic_creation_ends_once_the_topics_are_there(autojump_clock: MockClock) -> None:
    """With a broker that answers it is ready and done at once."""
    await TopicCreation(MemoryBus([TOPIC])).run()
    assert trio.current_time() < 1


async def test_a_broker_that_is_away_holds_up_nothing(autojump_clock: MockClock) -> None:
    """Ready after its grace, done when the broker comes."""
    bus = MemoryBus([TOPIC])
    bus.set_down()
    async with trio.open_nursery() as nursery:
        began = trio.current_time()
        await nursery.start(lambda *, task_status: TopicCreation(bus, grace=3).run(task_status=task_status))
        assert trio.current_time() - began == pytest.approx(3)
        await trio.sleep(60)
        assert nursery.child_tasks
        bus.set_up()
        await trio.testing.wait_all_tasks_blocked()
        assert not nursery.child_tasks


async def test_a_taken_port_is_an_error_that_says_what_to_do() -> None:
    """The text names the port and the option."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(PortError, match=f"port {port} on 127.0.0.1 is taken; .*--port"):
            await DoorService("127.0.0.1", port, Door).listen()


async def test_an_address_of_another_machine_is_an_error_that_says_what_to_do() -> None:
    """192.0.2.0/24 is for documentation (RFC 5737): no machine has it."""
    with pytest.raises(PortError, match=r"no address 192\.0\.2\.1; .*--host"):
        await DoorService("192.0.2.1", 0, Door).listen()


async def test_a_door_that_is_started_again_keeps_its_port() -> None:
    """Port 0 takes a free one once; clients find the door again after a restart."""
    service = DoorService("127.0.0.1", 0, Door)
    await service.listen()
    port = service.port
    assert port != 0
    assert service.url == f"http://127.0.0.1:{port}"
    for _ in range(2):
        async with trio.open_nursery() as nursery:
            await nursery.start(lambda *, task_status: service.run(task_status=task_status))
            stream = await trio.open_tcp_stream("127.0.0.1", port)
            await stream.aclose()
            nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("0.0.0.0", "http://127.0.0.1:80"),  # noqa: S104 - not bound here
        ("::", "http://[::1]:80"),
        ("::1", "http://[::1]:80"),
        ("a.b", "http://a.b:80"),
    ],
)
def test_the_url_is_one_that_a_browser_can_open(host: str, url: str) -> None:
    """Wildcard addresses are for listening, not for visiting."""
    assert DoorService(host, 80, Door).url == url


async def test_the_announcement_stands_while_the_process_runs(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """Others find it from readiness on, and no more once it stops."""
    announcement = Announcement(tmp_path, HERE, BANNER)
    async with trio.open_nursery() as nursery:
        await nursery.start(lambda *, task_status: announcement.run(task_status=task_status))
        assert find(tmp_path) == HERE
        assert announcement.up
        nursery.cancel_scope.cancel()
    assert not (tmp_path / NAME).exists()
    assert not announcement.up


async def test_the_first_process_of_a_machine_stays_the_one_that_is_found(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """A second door does not take over the runtime file, and does not remove it."""
    first = Running(os.getppid(), "http://127.0.0.1:9", "127.0.0.1:8", embedded=True)
    announce(tmp_path, first)
    async with trio.open_nursery() as nursery:
        await nursery.start(
            lambda *, task_status: Announcement(tmp_path, HERE, BANNER).run(task_status=task_status)
        )
        assert find(tmp_path) == first
        nursery.cancel_scope.cancel()
    assert find(tmp_path) == first


async def test_a_runtime_directory_that_cannot_be_written_stops_nothing(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """It is a warning: only other processes of the machine miss it."""
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    announcement = Announcement(blocked / "dir", HERE, BANNER)
    async with trio.open_nursery() as nursery:
        await nursery.start(lambda *, task_status: announcement.run(task_status=task_status))
        assert announcement.up
        nursery.cancel_scope.cancel()


async def test_a_service_waits_for_a_broker_and_moves_with_it(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """It starts its parts on the broker that appears, and fails over to its supervisor when that goes."""
    seen: list[str] = []

    def make(running: Running) -> Supervisor:
        seen.append(running.bootstrap_servers)
        return Supervisor("parts", [])

    local = LocalBroker(tmp_path, make)
    assert local.tree().state is State.STARTING
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_come_and_go, tmp_path)
        with trio.fail_after(60), pytest.raises(BrokerMovedError, match=r"127\.0\.0\.1:2"):
            await local()
    assert seen == ["127.0.0.1:2"]


async def _come_and_go(directory: Path) -> None:
    await trio.sleep(5)
    announce(directory, HERE)
    await trio.sleep(5)
    (directory / NAME).unlink()
