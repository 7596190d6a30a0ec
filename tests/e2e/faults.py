"""The fault matrix: what breaks under a working consumer, how it is mended, and what must be seen of it."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from tests.e2e.shots import Shot, photos, with_a_picture_without_embedding, with_poison
from tests.e2e.steps import (
    Step,
    freeze_the_consumer_until_another_works,
    frozen,
    join_and_leave,
    kill_mongodb,
    kill_the_consumer,
    killed,
    lose_the_coordinator,
    make_the_model_answer_in_another_shape,
    make_the_model_slow,
    nothing,
    refuse_output,
    repair_the_model,
    start_a_second,
    start_another,
    start_mongodb,
    started_again,
    stop_the_second,
    take_output,
    thaw_the_consumer,
    thawed,
)

Delivery = Literal["at_least_once", "exactly_once"]

BOTH: tuple[Delivery, ...] = ("at_least_once", "exactly_once")


@dataclass(frozen=True)
class Fault:
    """A row of the matrix.

    `logged` are log events, and `unready` a part of /readyz with words of its reason, that are waited for between the
    two steps. `counted` are metrics that some consumer has counted in the end. `recovers_from`: from which step on the
    longest pause is measured. `repeats`: whether events may come again where delivery is at least once. `writers`: how
    many consumers may publish of one camera at the same time; of one alone, what comes again goes on in order.
    `kafka_is_away` between the steps.
    """

    name: str
    break_it: Step = nothing
    mend_it: Step = nothing
    deliveries: tuple[Delivery, ...] = BOTH
    shots: Callable[[], Iterator[Shot]] = photos
    settings: Mapping[str, str] = field(default_factory=dict)
    logged: tuple[str, ...] = ()
    unready: tuple[str, str] | None = None
    logged_in_the_end: tuple[str, ...] = ()
    counted: tuple[tuple[str, Mapping[str, str]], ...] = ()
    recovers_from: Literal["break", "mend"] = "mend"
    repeats: bool = False
    writers: int = 1
    kafka_is_away: bool = False


COORDINATOR_LOST = Fault(
    "the broker that coordinates the group is killed, and another one is there",
    lose_the_coordinator,
    started_again("kafka"),
    recovers_from="break",
    repeats=True,
)

FROZEN_CONSUMER = Fault(
    "the consumer is frozen beyond its session and comes back",
    freeze_the_consumer_until_another_works,
    thaw_the_consumer,
    counted=(("rebalances_total", {}),),
    recovers_from="break",
    repeats=True,
    writers=2,
)

FAULTS = (
    Fault(
        "the consumer is killed and another takes over",
        kill_the_consumer,
        start_another,
        settings={"FRAMEMATCH_CONSUMER__COMMIT_INTERVAL_S": "60"},
        recovers_from="break",
        repeats=True,
    ),
    replace(FROZEN_CONSUMER, deliveries=("at_least_once",)),
    replace(
        FROZEN_CONSUMER,
        deliveries=("exactly_once",),
        settings={"FRAMEMATCH_CONSUMER__TRANSACTION_INTERVAL_MS": "500"},  # so that it is frozen with answers in hand
        logged_in_the_end=("transaction_fenced",),
        counted=(("commits_total", {"outcome": "fenced"}),),
    ),
    Fault(
        "a second consumer joins and leaves",
        start_a_second,
        stop_the_second,
        logged_in_the_end=("partitions_revoked",),
        counted=(("rebalances_total", {}),),
        recovers_from="break",
    ),
    Fault("members join, leave and die", join_and_leave, recovers_from="break", repeats=True),
    Fault(
        "Triton is killed and comes back",
        killed("triton"),
        started_again("triton"),
        deliveries=("at_least_once",),
        logged=("inference_retried",),
        unready=("triton", "Triton"),
        counted=(("inference_retries_total", {"reason": "inference_retried"}),),
    ),
    Fault(
        "Triton is frozen and comes back",
        frozen("triton"),
        thawed("triton"),
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
        logged_in_the_end=("metadata_available",),
        counted=(("metadata_total", {"state": "cached"}),),
    ),
    Fault("Triton is slow", make_the_model_slow, repair_the_model, deliveries=("at_least_once",)),
    Fault(
        "the model finds no embedding for some pictures",
        shots=with_a_picture_without_embedding,
        logged_in_the_end=("pictures_isolated", "frame_deadlettered"),
        counted=(("frames_total", {"outcome": "deadletter", "reason": "invalid_embedding"}),),
    ),
    Fault(
        "the model answers in another shape",
        make_the_model_answer_in_another_shape,
        repair_the_model,
        deliveries=("exactly_once",),
        logged=("model_output_invalid",),
        unready=("triton", "the model is broken"),
        counted=(("inference_retries_total", {"reason": "model_output_invalid"}),),
    ),
    Fault(
        "the topic of match events is not writable",
        refuse_output,
        take_output,
        deliveries=("at_least_once",),
        logged=("output_refused",),
        unready=("output", "MessageSizeTooLarge"),
        counted=(("output_retries_total", {}),),
        repeats=True,
    ),
    Fault(
        "the topic of match events is not writable",
        refuse_output,
        take_output,
        deliveries=("exactly_once",),
        logged=("transaction_failed",),
        unready=("output", "a transaction failed"),
        counted=(("commits_total", {"outcome": "failed"}),),
    ),
    Fault(
        "the broker, and with it the coordinator, is killed and comes back",
        killed("kafka"),
        started_again("kafka"),
        unready=("kafka", "Kafka does not answer"),
        logged=("kafka_unavailable",),
        logged_in_the_end=("kafka_available",),
        counted=(("kafka_outages_total", {}),),
        repeats=True,
        kafka_is_away=True,
    ),
    Fault(
        "the broker is frozen and comes back",
        frozen("kafka"),
        thawed("kafka"),
        settings={"FRAMEMATCH_KAFKA__REQUEST_TIMEOUT_MS": "1000"},
        unready=("kafka", "Kafka does not answer"),
        logged=("kafka_unavailable",),
        logged_in_the_end=("kafka_available",),
        counted=(("kafka_outages_total", {}),),
        repeats=True,
        kafka_is_away=True,
    ),
    Fault(
        "some records are poison",
        shots=with_poison,
        logged_in_the_end=("frame_deadlettered",),
        counted=(("frames_total", {"outcome": "deadletter", "reason": "headers"}),),
    ),
)
