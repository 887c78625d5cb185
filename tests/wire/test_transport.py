"""What Hive's transport does differently from kombu's."""

import pytest
import redis

from hive.messages import make_application
from hive.messages.transport import Channel, Transport

pytestmark = pytest.mark.wire
RAW = {
    "body": "",
    "headers": {},
    "properties": {"delivery_tag": "of the first sending", "delivery_info": {"exchange": "gis", "routing_key": "gis"}},
}


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
