"""Produce errors: which of them are the record's own, for ever, and which may pass (pure)."""

from confluent_kafka import KafkaError

from flux.errors import BrokenError, FluxError, LocalError

TOO_LARGE = frozenset({KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.RECORD_LIST_TOO_LARGE})

REFUSED = frozenset(
    {
        KafkaError.INVALID_RECORD,
        KafkaError.INVALID_TIMESTAMP,
        KafkaError.POLICY_VIOLATION,
        KafkaError.TOPIC_EXCEPTION,  # the name is not valid, or the topic is one of Kafka's own
        KafkaError.UNSUPPORTED_FOR_MESSAGE_FORMAT,
        KafkaError._INVALID_ARG,  # noqa: SLF001 - librdkafka's own codes begin so
    }
)
"""What the broker would say to this very record each time (Kafka protocol guide, error codes)."""

UNAUTHORIZED = frozenset({KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.CLUSTER_AUTHORIZATION_FAILED})
"""Refusals that an operator lifts: the same record is welcome once the access rules are right."""


def delivery_error(topic: str, error: KafkaError) -> FluxError:
    """Return the error that tells the caller why a record was not delivered.

    Every error that neither `TOO_LARGE` nor `REFUSED` names may pass: librdkafka itself has tried again those
    that Kafka calls retriable, until the message time-out, and the rest is of the producer or of the broker
    (an epoch, a sequence, a purge), so another try, perhaps of a new producer, may be taken.

    Returns:
        `LocalError`: this record is not to be tried again. `BrokenError`: trying again later may work.
    """
    if error.code() in TOO_LARGE:
        return LocalError(f"{topic}: the record is too large for the broker: {error.str()}")
    if error.code() in REFUSED:
        return LocalError(f"{topic}: the broker refuses the record: {error.str()}")
    if error.code() in UNAUTHORIZED:
        return BrokenError(
            f"{topic}: not delivered: {error.str()}; its access rules do not let this client write"
        )
    return BrokenError(f"{topic}: not delivered: {error.str()}")
