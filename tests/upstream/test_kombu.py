"""What Hive needs of kombu's Redis transport beyond its documentation (hive.celery_adapter.transport, messages)."""

import inspect
import json

import pytest
import redis
from kombu.transport import redis as stock
from kombu.transport import virtual
from kombu.transport.virtual import base

from hive.celery_adapter import MessageWriter, make_application, queue_lists
from hive.celery_adapter.transport import Channel, Transport
from hive.store.connection import held_keys
from hive.wire.job import Priority, Specification
from tests.support import Hive

pytestmark = pytest.mark.wire


@pytest.fixture(scope="module")
def up(tmp_path_factory):
    hive = Hive(tmp_path_factory.mktemp("upstream"))
    with hive.up():
        yield hive


@pytest.fixture
def connection(up):
    up.redis.flushdb()
    with make_application(up.settings_of("worker")).connection_for_write() as opened:
        yield opened


@pytest.fixture
def channel(connection):
    return connection.default_channel


def publish(channel, queue="gis", priority=0):
    message = channel.prepare_message("{}", priority, "application/json", "utf-8", {"id": "a"}, {"delivery_mode": 2})
    name, text = channel.encode(queue, message)
    channel.push([(name, text)])
    return name, json.loads(text)


def receive(channel, queue="gis"):
    """Take a message as kombu gives it to a consumer."""
    received = []
    channel.basic_consume(queue, no_ack=False, callback=received.append, consumer_tag="1")
    channel.connection._callbacks[queue](json.loads(channel.client.rpop(queue)))
    return received[0]


def test_each_long_job_would_run_twice_if_kombus_qos_lost_its_delivered_dict(channel):
    publish(channel)
    message = receive(channel)
    assert list(channel.qos._delivered) == [message.delivery_tag]
    message.ack()
    channel.qos._flush()
    assert list(channel.qos._delivered) == []


def test_a_finished_job_would_be_renewed_for_ever_if_kombus_qos_lost_its_dirty_set(channel):
    publish(channel)
    message = receive(channel)
    assert set(channel.qos._dirty) == set()
    virtual.QoS.ack(channel.qos, message.delivery_tag)
    assert set(channel.qos._dirty) == {message.delivery_tag}


def test_a_delivery_would_be_lost_with_its_worker_if_kombu_no_longer_called_append(channel, up):
    publish(channel)
    message = receive(channel)
    [(tag, held)] = up.redis.hgetall(held_keys(up.settings_of("worker"))["unacked_key"]).items()
    assert tag == message.delivery_tag
    payload, exchange, routing_key = json.loads(held)
    assert (payload["headers"]["id"], exchange, routing_key) == ("a", "", "gis")


def test_a_delivery_could_not_be_noted_if_kombus_message_lost_its_raw_payload(channel):
    _, payload = publish(channel)
    raw = receive(channel)._raw
    assert raw["headers"] == payload["headers"]


def test_two_workers_could_acknowledge_one_delivery_if_the_tag_left_the_message_properties(channel):
    _, payload = publish(channel)
    assert receive(channel).delivery_tag != payload["properties"]["delivery_tag"]


def test_tags_of_messages_would_be_slow_to_make_if_kombu_no_longer_asked_the_channel(channel, monkeypatch):
    monkeypatch.setattr(channel, "_next_delivery_tag", lambda: "from here")
    assert publish(channel)[1]["properties"]["delivery_tag"] == "from here"


def test_jobs_of_users_would_mix_if_kombu_ignored_the_names_of_its_keys(channel, up):
    names = held_keys(up.settings_of("worker"))
    assert {name: getattr(channel.qos, name) for name in names} == names


def test_leases_would_be_of_an_hour_if_kombu_ignored_the_visibility_timeout(channel, up):
    assert channel.qos.visibility_timeout == up.settings.lease_s
    assert channel.qos.unacked_mutex_expire == 5


def test_jobs_of_dead_workers_would_wait_for_ever_if_restore_by_tag_changed(channel, up):
    publish(channel)
    tag = receive(channel).delivery_tag
    with channel.conn_or_acquire() as client:
        channel.qos.restore_by_tag(tag, client)
    assert up.redis.llen("gis") == 1
    channel.qos._delivered.clear()


def test_each_worker_would_search_redis_every_few_seconds_if_restore_visible_had_another_name(channel):
    stocks, ours = (inspect.signature(kind.restore_visible) for kind in (stock.QoS, Channel.QoS))
    assert list(stocks.parameters) == list(ours.parameters)
    assert "restore_visible" in inspect.getsource(stock.MultiChannelPoller)


def test_a_worker_that_stops_would_keep_its_jobs_if_restore_unacked_lost_its_client(channel):
    assert list(inspect.signature(stock.QoS.restore_unacked).parameters) == ["self", "client"]
    assert "restore_unacked_once" in inspect.getsource(base.Channel.close)


def test_two_sweepers_could_put_one_job_back_twice_if_kombus_mutex_changed(channel):
    with channel.conn_or_acquire() as client, stock.Mutex(client, channel.qos.unacked_mutex_key, 5):
        second = stock.Mutex(client, channel.qos.unacked_mutex_key, 5)
        with pytest.raises(stock.MutexHeld):
            second.__enter__()


def test_a_worker_would_take_half_a_minute_to_stop_if_the_channel_lost_in_poll(channel):
    channel.basic_consume("gis", no_ack=False, callback=print, consumer_tag="1")
    channel.connection.cycle._register_BRPOP(channel)
    assert channel._in_poll.can_read(timeout=0) is False
    channel._in_poll.disconnect()


def test_each_command_would_make_a_client_if_create_client_or_the_pool_changed(channel):
    with channel.conn_or_acquire() as client, channel.conn_or_acquire() as again:
        assert client is again
        assert client.connection_pool is channel.pool
    assert isinstance(channel._create_client(), redis.Redis)


def test_an_idle_worker_would_ask_redis_every_second_if_the_transport_lost_brpop_timeout(channel):
    assert stock.Transport.brpop_timeout == 1
    assert channel.brpop_timeout == Transport.brpop_timeout == 28


def test_a_closed_channel_would_end_the_worker_if_it_no_longer_raised_what_we_catch(connection, channel):
    qos = channel.qos
    connection.release()
    assert channel.closed
    assert channel.connection is None
    with pytest.raises(redis.ConnectionError, match="is closed"):
        qos.ack("a tag")


@pytest.mark.parametrize(("priority", "step"), [(Priority.HIGH, 0), (Priority.NORMAL, 3), (Priority.LOW, 6)])
def test_jobs_would_go_to_lists_that_nobody_reads_if_kombu_named_its_priorities_otherwise(channel, priority, step):
    assert publish(channel, priority=step)[0] == channel._q_for_pri("gis", step)
    assert channel._q_for_pri("gis", step) == dict(zip(Priority, queue_lists("gis"), strict=True)).get(
        priority, queue_lists("gis")[[0, 3, 6].index(step)]
    )
    assert {0, 3, 6} <= set(channel.priority_steps)


def test_messages_could_not_be_sent_in_batches_if_basic_publish_did_something_else(channel, up):
    """kombu's own way and ours leave the same in Redis."""
    message = channel.prepare_message("{}", 3, "application/json", "utf-8", {"id": "a"}, {"delivery_mode": 2})
    channel.basic_publish(json.loads(json.dumps(message)), "", "gis")
    [theirs] = map(json.loads, up.redis.lrange(queue_lists("gis")[1], 0, -1))
    _, ours = publish(channel, priority=3)
    for text in (theirs, ours):
        del text["properties"]["delivery_tag"]
    assert ours == theirs


def test_every_process_would_get_hives_transport_if_connections_had_no_transport_of_their_own(connection):
    assert isinstance(connection.transport, Transport)
    assert isinstance(connection.clone().transport, Transport)
    assert connection.transport.driver_type == "redis"


def test_jobs_could_not_be_encoded_if_celerys_message_lost_a_part(connection, up):
    specification = Specification("test", "test.probe", "test", {"seconds": 0.0}, {}, {})
    writer = MessageWriter(make_application(up.settings), connection.default_channel)
    parts = writer._task_message("a", specification, with_event=True)
    assert parts.headers["task"] == "test.probe"
    assert parts.body[0] == ("a",)
    assert parts.sent_event["uuid"] == "a"
    assert {"correlation_id", "reply_to"} <= set(parts.properties)
