"""The Protocols of Kafka's clients agree with aiokafka, which has no types of its own."""

import inspect

import pytest
from aiokafka import AIOKafkaProducer

from framematch.core.kafka.consumer import Consumer
from framematch.core.kafka.protocols import GroupConsumer, Producer

METHODS = [
    (protocol, client, name)
    for protocol, client in ((Producer, AIOKafkaProducer), (GroupConsumer, Consumer))
    for name, _ in inspect.getmembers(protocol, inspect.isfunction)
    if not name.startswith("_")
]


@pytest.mark.parametrize(("protocol", "client", "name"), METHODS)
def test_aiokafka_accepts_the_calls_of_the_protocol(protocol: type, client: type, name: str) -> None:
    ours, theirs = getattr(protocol, name), getattr(client, name)
    parameters = inspect.signature(ours).parameters.values()
    positional = [parameter.name for parameter in parameters if parameter.kind is not parameter.KEYWORD_ONLY]
    keywords = {parameter.name: None for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY}
    inspect.signature(theirs).bind(*positional, **keywords)
    assert inspect.iscoroutinefunction(theirs) == inspect.iscoroutinefunction(ours)
