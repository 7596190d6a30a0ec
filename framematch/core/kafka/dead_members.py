"""Tells Kafka that members of a consumer group have died, so that it does not wait for their sessions to end.

A process that is killed cannot leave its group. Kafka accepts the request to leave from any client that may read by the
group. aiokafka knows the request, but its consumer sends it only for itself.
"""

from collections.abc import Iterable

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import NoError, UnknownMemberIdError, for_code
from aiokafka.protocol.group import LeaveGroupRequest

from framematch.core.kafka.clients import kafka_errors, new_admin, start_client, stop_client
from framematch.core.settings import KafkaSettings


async def remove_members(kafka: KafkaSettings, group_id: str, member_ids: Iterable[str]) -> None:
    """Make these members leave the group. One that Kafka does not know any more is no error.

    Raises:
        KafkaUnavailableError: no broker answers, or it refuses.
    """
    admin = new_admin(kafka)
    await start_client(admin, kafka, explain=False)
    try:
        with kafka_errors(kafka):
            coordinator = await admin.find_coordinator(group_id)
            for member_id in member_ids:
                await _leave(admin, coordinator, group_id, member_id)
    finally:
        await stop_client(admin)


async def _leave(admin: AIOKafkaAdminClient, coordinator: int, group_id: str, member_id: str) -> None:
    # The admin client has no method for it that its stable interface names.
    response = await admin._client.send(coordinator, LeaveGroupRequest(group_id, member_id))  # noqa: SLF001
    error = for_code(response.error_code)
    if error not in {NoError, UnknownMemberIdError}:
        raise error(f"leaving {group_id}")
