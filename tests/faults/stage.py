"""What most fault tests have: a Kafka to break, programs over it, clients, onlookers, a ledger."""

from collections.abc import Mapping

import trio
from apache_kafka import ApacheKafka
from attrs import frozen
from driver import Driver
from fault_load import Note, Start, Watching
from kafka_watch import KafkaWatch
from program import Program


@frozen
class Stage:
    """The parts of a fault test.

    Args:
        kafka: the node that may be broken, up.
        driver: the process of the clients.
        note: takes the figures.
        settings: of programs over that node.
    """

    kafka: ApacheKafka
    driver: Driver
    note: Note
    settings: Mapping[str, str]
    _start: Start
    _watching: Watching

    def start(self, *arguments: str, **settings: str) -> Program:
        """Start a program over the node, and do not wait for it."""
        return self._start(*arguments, **{**self.settings, **settings})

    async def ready(self, *arguments: str, **settings: str) -> Program:
        """Start a program over the node, and wait until it is ready."""
        program = self.start(*arguments, **settings)
        return await trio.to_thread.run_sync(lambda: program.wait_open().wait_ready())

    async def watch(self) -> KafkaWatch:
        """Have an onlooker read the node's topics from now on."""
        return await trio.to_thread.run_sync(self._watching, self.kafka.bootstrap_servers)
