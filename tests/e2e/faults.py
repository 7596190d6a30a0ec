"""The fault matrix: how each fault is injected under a running consumer, how it is repaired, and what is reported."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from tests.e2e.fault_actions import (
    Action,
    accept_output,
    do_nothing,
    freeze_consumer_until_another_takes_over,
    freeze_server,
    kill_consumer,
    kill_coordinator,
    kill_mongodb,
    kill_server,
    make_model_return_another_shape,
    make_model_slow,
    recover_model,
    reject_output,
    resume_consumer,
    resume_server,
    start_another_consumer,
    start_mongodb,
    start_second_consumer,
    start_server,
    start_stop_and_kill_members,
    stop_second_consumer,
)
from tests.e2e.input_records import InputRecord, photos, with_invalid_embeddings, with_poison

Delivery = Literal["at_least_once", "exactly_once"]

BOTH: tuple[Delivery, ...] = ("at_least_once", "exactly_once")


@dataclass(frozen=True)
class Fault:
    """A row of the matrix.

    While the fault lasts, the test waits for the log events of `logged`, and for the part of /readyz with the text in
    its reason that `unready` names; at the end for `logged_at_end`, and for the metrics of `counted` in any consumer.
    `recovery_timed_from`: when the measurement of the longest pause starts. `may_repeat`: whether events may be
    published again if delivery is at least once. `writers`: how many consumers may publish events of one camera at the
    same time; with one, repeats are in order too. `kafka_unreachable`: while the fault lasts.
    """

    name: str
    inject: Action = do_nothing
    recover: Action = do_nothing
    deliveries: tuple[Delivery, ...] = BOTH
    records: Callable[[], Iterator[InputRecord]] = photos
    settings: Mapping[str, str] = field(default_factory=dict)
    logged: tuple[str, ...] = ()
    unready: tuple[str, str] | None = None
    logged_at_end: tuple[str, ...] = ()
    counted: tuple[tuple[str, Mapping[str, str]], ...] = ()
    recovery_timed_from: Literal["injection", "recovery"] = "recovery"
    may_repeat: bool = False
    writers: int = 1
    kafka_unreachable: bool = False


COORDINATOR_LOST = Fault(
    "the broker that coordinates the group is killed, and another takes over",
    kill_coordinator,
    start_server("kafka"),
    recovery_timed_from="injection",
    may_repeat=True,
)

FROZEN_CONSUMER = Fault(
    "the consumer is frozen beyond its session and comes back",
    freeze_consumer_until_another_takes_over,
    resume_consumer,
    counted=(("rebalances_total", {}),),
    recovery_timed_from="injection",
    may_repeat=True,
    writers=2,
)

FAULTS = (
    Fault(
        "the consumer is killed and another takes over",
        kill_consumer,
        start_another_consumer,
        settings={"FRAMEMATCH_CONSUMER__COMMIT_INTERVAL_S": "60"},
        recovery_timed_from="injection",
        may_repeat=True,
    ),
    replace(FROZEN_CONSUMER, deliveries=("at_least_once",)),
    replace(
        FROZEN_CONSUMER,
        deliveries=("exactly_once",),
        settings={"FRAMEMATCH_CONSUMER__TRANSACTION_INTERVAL_MS": "500"},  # it is frozen with open transactions
        logged_at_end=("transaction_fenced",),
        counted=(("commits_total", {"outcome": "fenced"}),),
    ),
    Fault(
        "a second consumer joins and leaves",
        start_second_consumer,
        stop_second_consumer,
        logged_at_end=("partitions_revoked",),
        counted=(("rebalances_total", {}),),
        recovery_timed_from="injection",
    ),
    Fault(
        "members join, leave and are killed",
        start_stop_and_kill_members,
        recovery_timed_from="injection",
        may_repeat=True,
    ),
    Fault(
        "Triton is killed and comes back",
        kill_server("triton"),
        start_server("triton"),
        deliveries=("at_least_once",),
        logged=("inference_retried",),
        unready=("triton", "Triton"),
        counted=(("inference_retries_total", {"reason": "inference_retried"}),),
    ),
    Fault(
        "Triton is frozen and comes back",
        freeze_server("triton"),
        resume_server("triton"),
        deliveries=("exactly_once",),
        settings={"FRAMEMATCH_TRITON__TIMEOUT_S": "1"},
        logged=("inference_retried",),
        unready=("triton", "Triton"),
        counted=(("inference_retries_total", {"reason": "inference_retried"}),),
    ),
    Fault(
        "MongoDB is killed and comes back",
        kill_mongodb,
        start_mongodb,
        deliveries=("at_least_once",),
        settings={"FRAMEMATCH_MATCHING__METADATA_TTL_S": "0.001"},
        logged=("metadata_unavailable",),
        logged_at_end=("metadata_available",),
        counted=(("metadata_total", {"state": "cached"}),),
    ),
    Fault("Triton is slow", make_model_slow, recover_model, deliveries=("at_least_once",)),
    Fault(
        "the model returns NaN for some pictures",
        records=with_invalid_embeddings,
        logged_at_end=("pictures_isolated", "frame_deadlettered"),
        counted=(("frames_total", {"outcome": "deadletter", "reason": "invalid_embedding"}),),
    ),
    Fault(
        "the model returns another shape",
        make_model_return_another_shape,
        recover_model,
        deliveries=("exactly_once",),
        logged=("model_output_invalid",),
        unready=("triton", "the model is broken"),
        counted=(("inference_retries_total", {"reason": "model_output_invalid"}),),
    ),
    Fault(
        "Kafka rejects match events",
        reject_output,
        accept_output,
        deliveries=("at_least_once",),
        logged=("output_refused",),
        unready=("output", "MessageSizeTooLarge"),
        counted=(("output_retries_total", {}),),
        may_repeat=True,
    ),
    Fault(
        "Kafka rejects match events",
        reject_output,
        accept_output,
        deliveries=("exactly_once",),
        logged=("transaction_failed",),
        unready=("output", "a transaction failed"),
        counted=(("commits_total", {"outcome": "failed"}),),
    ),
    Fault(
        "the broker, and with it the coordinator, is killed and comes back",
        kill_server("kafka"),
        start_server("kafka"),
        unready=("kafka", "Kafka does not answer"),
        logged=("kafka_unavailable",),
        logged_at_end=("kafka_available",),
        counted=(("kafka_outages_total", {}),),
        may_repeat=True,
        kafka_unreachable=True,
    ),
    Fault(
        "the broker is frozen and comes back",
        freeze_server("kafka"),
        resume_server("kafka"),
        settings={"FRAMEMATCH_KAFKA__REQUEST_TIMEOUT_MS": "1000"},
        unready=("kafka", "Kafka does not answer"),
        logged=("kafka_unavailable",),
        logged_at_end=("kafka_available",),
        counted=(("kafka_outages_total", {}),),
        may_repeat=True,
        kafka_unreachable=True,
    ),
    Fault(
        "some records are poison",
        records=with_poison,
        logged_at_end=("frame_deadlettered",),
        counted=(("frames_total", {"outcome": "deadletter", "reason": "headers"}),),
    ),
)
