"""What Hive's transport does differently from kombu's."""

import time

import pytest
import redis

from hive.celery_adapter import make_application
from hive.celery_adapter.messages import requeue_overdue
from hive.celery_adapter.transport import Channel, Transport, overdue

pytestmark = pytest.mark.wire
RAW = {
    "body": "",
    "headers": {},
    "properties": {"delivery_tag": "of the first sending", "delivery_info": {"exchange": "gis", "routing_key": "gis"}},
}

INDEX = "hive:unacked:worker:index"


@pytest.fixture
def connection(hive_up):
    with make_application(hive_up.settings_of("worker")).connection_for_write() as opened:
        yield opened


def test_redis_means_hives_transport(connection):
    assert isinstance(connection.transport, Transport)
    assert isinstance(connection.default_channel, Channel)


def test_each_delivery_of_a_message_has_a_tag_of_its_own(connection):
    channel = connection.default_channel
    tags = {
        channel.Message({**RAW, "properties": dict(RAW["properties"])}, channel=channel).delivery_tag for _ in range(2)
    }
    assert len(tags) == 2
    assert "of the first sending" not in tags


@pytest.mark.parametrize("call", ["ack", "reject"])
def test_an_answer_on_a_closed_channel_is_a_lost_connection_and_ends_no_worker(connection, call):
    channel = connection.default_channel
    quality = channel.qos
    connection.release()
    with pytest.raises(redis.ConnectionError, match="is closed"):
        getattr(quality, call)("a tag")


def test_a_worker_that_loses_its_connection_with_a_message_in_hand_goes_on(connection):
    channel = connection.default_channel
    quality = channel.qos
    quality.append(channel.Message({**RAW, "properties": dict(RAW["properties"])}, channel=channel), "a tag")
    connection.transport.close_connection(connection.connection)
    connection.connection.client = None
    quality.restore_unacked()
    assert not quality._delivered


def test_a_channel_that_waits_for_messages_is_closed_at_once(connection):
    channel = connection.channel()
    channel.brpop_timeout = 600  # longer than the connection's own patience, which ends with an error
    channel.basic_consume("gis", no_ack=False, callback=print, consumer_tag="1")
    channel.connection.cycle._register_BRPOP(channel)
    assert channel._in_poll
    channel.close()
    assert channel.closed
    assert not channel._in_poll


def hold(connection, tag):
    """Hold a delivery, as a worker does that has taken a message."""
    channel = connection.default_channel
    properties = RAW["properties"] | {"delivery_info": {"exchange": "", "routing_key": "gis"}, "priority": 0}
    channel.qos.append(channel.Message({**RAW, "properties": properties}, channel=channel), tag)


def test_a_delivery_that_nobody_renews_for_a_lease_is_put_back_and_no_other(connection, hive_up):
    for tag in ("of the dead", "of the living"):
        hold(connection, tag)
    assert overdue(hive_up.redis, INDEX, 15) == []
    hive_up.redis.zincrby(INDEX, -16, "of the dead")
    assert overdue(hive_up.redis, INDEX, 15) == ["of the dead"]
    requeue_overdue(make_application(hive_up.settings_of("worker")))
    assert hive_up.redis.llen("gis") == 1
    assert hive_up.redis.hkeys("hive:unacked:worker") == ["of the living"]
    connection.default_channel.qos._delivered.clear()


def test_nothing_is_put_back_while_redis_has_only_just_come_back(connection, hive_up):
    hold(connection, "a tag")
    hive_up.redis.zincrby(INDEX, -16, "a tag")
    hive_up.redis.set("hive:away_until", int(time.time() * 1000) + 10_000)
    requeue_overdue(make_application(hive_up.settings_of("worker")))
    assert hive_up.redis.llen("gis") == 0
    connection.default_channel.qos._delivered.clear()
