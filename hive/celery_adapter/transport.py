"""kombu's Redis transport, made safe for jobs that outlast a lease.

What differs: each delivery has a tag of its own, so that a worker which was frozen and comes back can neither
acknowledge nor requeue what another one holds by now; and times are those of Redis, not of each worker's clock.
"""

import contextlib
import itertools
import json
import secrets
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import redis
from kombu.transport import redis as stock
from kombu.transport import virtual
from kombu.utils.json import dumps

from hive.store.scripts import load_script

# A prepared message is plain JSON; kombu's `dumps` makes an encoder for each.
_encode = json.JSONEncoder().encode
_PREFIX, _NUMBERS = f"{secrets.token_hex(4)}-", itertools.count()
_ALL = 10_000


@contextmanager
def _closed_is_lost(channel: Any) -> Iterator[None]:  # noqa: ANN401
    """Turn what a closed channel raises into a lost connection.

    A task that ends while its worker reconnects acknowledges on the old channel. kombu then fails with an
    AttributeError, which ends the whole worker; a lost connection is only logged, and the record has the result.
    """
    try:
        yield
    except AttributeError as error:
        if channel.connection is not None and not channel.closed and channel.connection.client is not None:
            raise
        raise redis.ConnectionError("the connection that brought this message is closed") from error


class QoS(stock.QoS):
    """Deliveries that this worker holds, kept in Redis until they are acknowledged."""

    channel: Any  # kombu's types know only the general channel

    @cached_property
    def _hold(self) -> Any:  # noqa: ANN401  redis-py's Script; its digest is worked out once, not for each delivery
        with self.channel.conn_or_acquire() as client:
            return client.register_script(load_script("hold"))

    def append(self, message: Any, delivery_tag: str) -> None:  # noqa: ANN401  kombu's own signature
        """Note a delivery, by Redis' clock and in one step."""
        delivery = message.delivery_info
        held = dumps([message._raw, delivery["exchange"], delivery["routing_key"]])
        with self.channel.conn_or_acquire() as client:
            self._hold(keys=[self.unacked_index_key, self.unacked_key], args=[delivery_tag, held], client=client)
        virtual.QoS.append(self, message, delivery_tag)

    def ack(self, delivery_tag: str) -> None:
        """Acknowledge a delivery; where its connection is gone, say so in a way that Celery knows how to take."""
        with _closed_is_lost(self.channel):
            super().ack(delivery_tag)

    def reject(self, delivery_tag: str, requeue: bool = False) -> None:
        """Give a delivery back or drop it; where its connection is gone, as with `ack`."""
        with _closed_is_lost(self.channel):
            super().reject(delivery_tag, requeue)

    def restore_unacked(self, client: Any = None) -> None:  # noqa: ANN401
        """Put back what this worker holds when it stops; where its connection is gone, the sweep does it."""
        try:
            with _closed_is_lost(self.channel):
                super().restore_unacked(client)
        except (redis.ConnectionError, redis.TimeoutError):
            (self._delivered or {}).clear()

    def restore_visible(self, start: int = 0, num: int | None = 10, interval: int = 10) -> None:
        """Leave it to the sweep: kombu would let each worker look every few seconds, at the laptop's cost."""

    def requeue_overdue(self) -> None:
        """Requeue what nobody has renewed for one lease; nothing while Redis itself has only just come back."""
        with (
            self.channel.conn_or_acquire() as client,
            contextlib.suppress(stock.MutexHeld),
            stock.Mutex(client, self.unacked_mutex_key, self.unacked_mutex_expire),
        ):
            for tag in overdue(client, self.unacked_index_key, self.visibility_timeout, _ALL):
                self.restore_by_tag(tag, client)


class Delivery(virtual.Message):
    """One delivery of a message."""

    def __init__(self, payload: dict[str, Any], channel: Any = None, **more: Any) -> None:  # noqa: ANN401
        # The tag in the message is that of its first sending; each delivery gets one of its own.
        payload["properties"]["delivery_tag"] = str(uuid.uuid4())
        super().__init__(payload, channel, **more)


class Channel(stock.Channel):
    """A channel whose deliveries have tags of their own."""

    QoS = QoS
    Message = Delivery
    _in_poll: Any  # kombu's: the connection on which a worker waits for messages, while it does
    _create_client: Any
    _q_for_pri: Any
    _general: Any = None

    @contextmanager
    def conn_or_acquire(self, client: Any = None) -> Iterator[Any]:  # noqa: ANN401  kombu's own signature
        """A client of this channel's pool; kombu makes a new one for each command, which takes as long as that."""
        if client is None and (self._general is None or self._general.connection_pool is not self.pool):
            self._general = self._create_client()
        yield client or self._general

    def _next_delivery_tag(self) -> str:
        """The tag that a message is sent with; each delivery gets one of its own."""
        return f"{_PREFIX}{next(_NUMBERS)}"

    def encode(self, queue: str, message: dict[str, Any]) -> tuple[str, str]:
        """The list that a prepared message belongs to, and its text there: kombu's `basic_publish` without sending."""
        self._inplace_augment_message(message, "", queue)
        step = self._get_message_priority(message, reverse=False)
        return self._q_for_pri(queue, step), _encode(message)

    def push(self, messages: Iterable[tuple[str, str]]) -> None:
        """Push encoded messages into their lists, with one command for each list."""
        lists: dict[str, list[str]] = {}
        for name, text in messages:
            lists.setdefault(name, []).append(text)
        with self.conn_or_acquire() as client:
            for name, texts in lists.items():
                client.lpush(name, *texts)

    def close(self) -> None:
        """Close at once; kombu would wait until Redis has nothing to say for as long as a worker may wait.

        Where Redis hands over a message in this very moment, the sweep finds its job and sends it again.
        """
        waiting = self._in_poll
        if waiting and not waiting.can_read(timeout=0):
            waiting.disconnect()
        super().close()


class Transport(stock.Transport):
    """The transport that `redis://` and `rediss://` mean in Hive."""

    Channel = Channel
    # A waiting worker asks Redis anew after so many seconds, not every second; a message wakes it at once all the same.
    brpop_timeout = 28


def overdue(client: "redis.Redis", index: str, lease_s: float, most: int = 1) -> list[Any]:
    """Tags of deliveries that nobody has renewed for one lease, the oldest first."""
    return list(client.register_script(load_script("overdue"))(keys=[index], args=[lease_s, most]))
