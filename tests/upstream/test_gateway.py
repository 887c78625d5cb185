"""What Hive needs of Flower and Tornado beyond their documentation (hive.gateway.server, guard, answers)."""

import asyncio
import inspect

import flower.api.control
import flower.app
import pytest
from flower.options import default_options
from flower.urls import settings as flower_settings
from tornado import http1connection, httpserver, iostream, netutil, routing, web

from hive.gateway.guard import Server
from hive.gateway.handler import MAX_BODY_BYTES, TooLarge
from hive.gateway.server import _flower_options


@web.stream_request_body
class Sink(web.RequestHandler):
    """Says how many bytes came, in pieces of which size."""

    def initialize(self):
        self.sizes = []

    def prepare(self):
        self.request.connection.set_max_body_size(1 << 30)
        self.request.connection.set_body_timeout(60)

    async def data_received(self, chunk):
        self.sizes.append(len(chunk))

    def put(self):
        self.write({"total": sum(self.sizes), "largest": max(self.sizes)})


def upload(size, change=lambda connection: None):
    """What a server of Hive's makes of a body; `change` sees each connection before it is used."""

    class Changed(Server):
        def start_request(self, server_conn, request_conn):
            change(request_conn)
            return super().start_request(server_conn, request_conn)

    async def run():
        server = Changed(web.Application([("/", Sink)]), chunk_size=1 << 18)
        [socket] = netutil.bind_sockets(0, "127.0.0.1")
        server.add_socket(socket)
        reader, writer = await asyncio.open_connection(*socket.getsockname())
        writer.write(f"PUT / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: {size}\r\n\r\n".encode())
        writer.write(bytes(size))
        await writer.drain()
        answer = await asyncio.wait_for(reader.read(), 30)
        writer.close()
        server.stop()
        await server.close_all_connections()
        return web.escape.json_decode(answer.partition(b"\r\n\r\n")[2])

    return asyncio.run(run())


def test_uploads_would_take_three_times_the_work_if_tornado_renamed_read_fixed_body():
    size = 3 * MAX_BODY_BYTES + 17
    assert upload(size) == {"total": size, "largest": 1 << 20}


def test_uploads_arrive_all_the_same_where_tornado_reads_bodies_by_another_method():
    class Renamed(http1connection.HTTP1Connection):
        """A release without the method that Hive replaces."""

        def __getattribute__(self, name):
            if name == "_read_fixed_body" and inspect.stack()[1].function == "start_request":
                raise AttributeError(name)
            return super().__getattribute__(name)

    def rename(connection):
        connection.__class__ = Renamed

    size = 2 * MAX_BODY_BYTES + 17
    result = upload(size, rename)
    assert result["total"] == size
    assert result["largest"] <= 1 << 18


def test_uploads_would_be_refused_if_a_connection_could_not_raise_its_limits():
    assert {"set_max_body_size", "set_body_timeout"} <= set(dir(http1connection.HTTP1Connection))
    assert "read_into" in dir(iostream.BaseIOStream)


def test_slow_senders_could_fill_the_gateway_if_the_server_lost_its_connections():
    assert "self._connections.add(conn)" in inspect.getsource(httpserver.HTTPServer.handle_stream)


def test_errors_would_have_no_sentence_if_handlers_lost_their_reason():
    assert "self._reason = " in inspect.getsource(web.RequestHandler.set_status)


def test_the_door_would_stand_open_if_tornado_no_longer_asked_find_handler():
    assert ".find_handler(" in inspect.getsource(routing._RoutingDelegate)
    assert list(inspect.signature(web.Application.get_handler_delegate).parameters)[1:3] == ["request", "target_class"]
    assert "find_handler" not in vars(flower.app.Flower)


def test_a_body_that_is_too_large_would_be_read_if_streaming_handlers_were_not_asked_first():
    assert TooLarge._stream_request_body  # what @stream_request_body sets
    delegate = inspect.getsource(web._HandlerDelegate)
    assert "stream_request_body" in delegate


def test_pages_would_lack_their_headers_if_output_transforms_changed():
    assert list(inspect.signature(web.OutputTransform.transform_first_chunk).parameters)[1:] == [
        "status_code", "headers", "chunk", "finishing",
    ]  # fmt: skip
    assert "add_transform" in dir(web.Application)


def test_flower_would_give_orders_to_workers_if_it_no_longer_read_these_options():
    own, defaults = _flower_options(), default_options.as_dict()
    changed = {name for name, value in vars(own).items() if value != defaults[name]}
    assert changed == {"url_prefix", "read_only", "max_tasks", "enable_events"}
    source = inspect.getsource(flower.app.Flower.__init__)
    assert all(f"options.{name}" in source for name in ("url_prefix", "max_tasks", "enable_events"))
    assert "options.read_only" in inspect.getsource(flower.api.control)


def test_flower_would_keep_its_cookies_elsewhere_if_its_settings_were_not_a_dictionary():
    assert {"static_url_prefix", "login_url"} <= set(flower_settings)


@pytest.mark.parametrize("name", ["options", "capp"])
def test_the_gateway_could_not_be_made_if_flower_took_other_arguments(name):
    assert name in inspect.signature(flower.app.Flower.__init__).parameters
