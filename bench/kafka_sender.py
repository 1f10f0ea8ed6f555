"""Sends records at a steady rate, each with the monotonic time in it: ``python -m bench.kafka_sender``."""

import sys
import time

from confluent_kafka import Producer


def main(servers: str, topic: str, rate: float) -> None:
    """Send until killed."""
    producer = Producer({"bootstrap.servers": servers, "linger.ms": 0})
    due = time.monotonic()
    while True:
        producer.produce(topic, str(time.monotonic_ns()).encode(), partition=0)
        producer.poll(0)
        due += 1 / rate
        time.sleep(max(0.0, due - time.monotonic()))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], float(sys.argv[3]))
