"""Measure Kafka event -> client latency of the ticker, through a BFF alone; not a test.

Usage: python tests/contract/measure_latency.py [--client js|python] [--rates 100,1000] [--seconds 10]
                                                [--clients 1] [--kafka]

Prints one line a rate: median and 99th percentile, in milliseconds, from produce() to the client's handler.
`--kafka` starts an Apache Kafka (Java; Maven the first time) instead of the embedded broker. Both ends and
the broker share this machine, so what competes for its cores is in the figures.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import trio
from confluent_kafka import Producer
from driver import JS, PYTHON, ClientProcess, attached
from kafka_watch import TICKER
from program import Program
from scenario import TICKER_RESPONSE, new_city, settle

sys.path.insert(0, str(Path(__file__).parents[1] / "kafka"))


async def measure(program: Program, kind: str, rate: float, seconds: float, clients: int) -> str:
    """Return one line about one rate."""
    process = ClientProcess(kind)
    producer = Producer({"bootstrap.servers": program.bootstrap_servers, "linger.ms": 0})
    sent: dict[int, int] = {}
    try:
        async with attached(process) as driver:
            heard = [await driver.open(program.url, transports=["websocket"]) for _ in range(clients)]
            for client in heard:
                await settle(client, new_city())
            total = int(rate * seconds)
            start = trio.current_time() + 0.5
            for n in range(total):
                await trio.sleep_until(start + n / rate)
                product = f"P{n}-USD"  # one each, so that nothing is conflated away
                data = {"type": "ticker", "product_id": product, "price": "1.00", "pad": "x" * 200}
                value = json.dumps({"status": "success", "data": data, "source": "measure"}).encode()
                sent[n] = time.monotonic_ns()
                producer.produce(TICKER, value, key=f"K{n % 10}")
                producer.poll(0)
            for client in heard:
                await client.event(TICKER_RESPONSE, lambda p: p["data"]["product_id"] == f"P{total - 1}-USD")
            await trio.sleep(0.5)
            took = sorted(
                (a.at - sent[int(a.payload["data"]["product_id"][1:-4])]) / 1e6
                for client in heard
                for a in client.events(TICKER_RESPONSE)
            )
    finally:
        process.stop()
        producer.flush(5)
    share = len(took) / (total * clients)
    p99 = took[int(len(took) * 0.99)]
    return (
        f"{rate:6.0f} events/s, {clients} {kind} client(s): "
        f"p50 {statistics.median(took):6.2f} ms, p99 {p99:6.2f} ms, max {took[-1]:6.2f} ms, "
        f"delivered {share:.1%}"
    )


def main() -> None:
    """Measure as the command line says."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--client", choices=[JS, PYTHON], default=JS)
    parser.add_argument("--rates", default="100,1000")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--clients", type=int, default=1)
    parser.add_argument("--kafka", action="store_true")
    options = parser.parse_args()
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        settings = {"BFF__SCHEDULER": "false"}
        if options.kafka:
            from apache_kafka import ApacheKafka, resolve_jars  # noqa: PLC0415 - needs Java, on demand only

            node = stack.enter_context(ApacheKafka(resolve_jars(), directory))
            settings["KAFKA__BOOTSTRAP_SERVERS"] = node.bootstrap_servers
        program = Program(("bff", "--port", "0"), directory, settings)
        stack.callback(program.kill)
        program.start().wait_open().wait_ready()
        print("Apache Kafka" if options.kafka else "embedded broker")
        for rate in options.rates.split(","):
            print(trio.run(measure, program, options.client, float(rate), options.seconds, options.clients))


if __name__ == "__main__":
    main()
