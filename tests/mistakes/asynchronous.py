"""Mistakes in asynchronous tests. Each function is the body of a test with a `server`; its options stand before it.

The bodies are copied into test modules of their own (see `modules`), so they use nothing but what these import.
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct

from tcpclient_testing import Connection, MockTCPServer
from tcpclient_testing.matchers import JSON, Regex
from tcpclient_testing.tls import client_context

from .table import mistake

__all__ = ["MISTAKES"]

MISTAKES = mistake.table()


@mistake("expected b'door=open', got b'door=opne' at byte 7", "at byte 7")
async def wrong_byte(server: MockTCPServer) -> None:
    server.expect_connect()
    server.expect_line(b"door=open")
    server.expect_disconnect()
    reader, writer = await asyncio.open_connection(*server.address)
    writer.write(b"door=opne\r\n")
    await reader.read()


@mistake("got b'PING' without its ending b'\\r\\n'", "let the client send the ending", timeout=0.1)
async def missing_ending(server: MockTCPServer) -> None:
    server.expect_connect()
    server.expect_line(b"PING")
    server.send_line(b"PONG")
    reader, writer = await asyncio.open_connection(*server.address)
    writer.write(b"PING")
    await reader.readline()


@mistake("b'PING' ends in LF alone, the script's in CR LF", "write ending=b'\\n'")
async def lf_for_cr_lf(server: MockTCPServer) -> None:
    server.expect_connect()
    server.expect_line(b"PING")
    server.send_line(b"PONG")
    reader, writer = await asyncio.open_connection(*server.address)
    writer.write(b"PING\n")
    await reader.readline()


@mistake("b'PING' ends in LF alone, the script's in CR LF", "write ending=b'\\n'", timeout=0.1)
async def lf_for_cr_lf_in_any_line(server: MockTCPServer) -> None:
    server.expect_connect()
    server.expect_line()
    server.send_line(b"PONG")
    reader, writer = await asyncio.open_connection(*server.address)
    writer.write(b"PING\n")
    await reader.readline()


@mistake("no client connected", "was a coroutine not awaited?")
async def forgotten_await(server: MockTCPServer) -> None:
    async def client() -> None:
        _, writer = await asyncio.open_connection(*server.address)
        writer.close()
        await writer.wait_closed()

    server.expect_connect()
    server.expect_disconnect()
    forgotten = client()
    forgotten.close()  # as Python does, with a warning


@mistake("without awaiting wait_closed()", "await writer.wait_closed()")
async def forgotten_wait_closed(server: MockTCPServer) -> None:
    server.expect_connect()
    server.expect_disconnect()
    _, writer = await asyncio.open_connection(*server.address)
    writer.close()


@mistake("no client connected", "nothing is running that could connect", timeout=0.1)
async def never_connects(server: MockTCPServer) -> None:
    server.expect_connect()
    server.expect_line(b"PING")
    await server.join()


@mistake("unexpected connection 2: the script has one expect_connect()", "write another expect_connect()")
async def connects_twice(server: MockTCPServer) -> None:
    server.expect_connect()
    server.expect_line(b"PING")
    server.expect_disconnect()
    for _ in range(2):
        _, writer = await asyncio.open_connection(*server.address)
        writer.write(b"PING\r\n")
        writer.close()
        await writer.wait_closed()
        await server.join()


@mistake("expected the client to disconnect, got 6 bytes: b'PING\\r\\n'", "got 6 bytes")
async def sends_too_much(server: MockTCPServer) -> None:
    server.expect_connect()
    server.expect_line(b"PING")
    server.expect_disconnect()
    _, writer = await asyncio.open_connection(*server.address)
    writer.write(b"PING\r\nPING\r\n")
    writer.close()
    await writer.wait_closed()


@mistake("got only 5 (b'HELLO'), then nothing", "expected 11 bytes b'HELLO WORLD'", timeout=0.1)
async def sends_too_little_and_waits(server: MockTCPServer) -> None:
    server.expect_connect()
    server.expect_bytes(b"HELLO WORLD")
    server.send_bytes(b"OK")
    reader, writer = await asyncio.open_connection(*server.address)
    writer.write(b"HELLO")
    await reader.readexactly(2)


@mistake("without sending the line b'QUIT'", "let the client send it")
async def half_closes(server: MockTCPServer) -> None:
    server.expect_connect()
    server.expect_line(b"PING")
    server.send_line(b"PONG")
    server.expect_line(b"QUIT")
    reader, writer = await asyncio.open_connection(*server.address)
    writer.write(b"PING\r\n")
    writer.write_eof()
    await reader.read()


@mistake("expected the client to disconnect, but it reset the connection", "write expect_reset()")
async def resets(server: MockTCPServer) -> None:
    server.expect_connect()
    server.expect_line(b"PING")
    _, writer = await asyncio.open_connection(*server.address)
    writer.write(b"PING\r\n")
    await server.join()
    server.expect_disconnect()
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
    await server.join()


@mistake("client.recv(100) blocked the event loop", "use ThreadedMockTCPServerMixin", timeout=0.1)
async def blocks_the_loop(server: MockTCPServer) -> None:
    server.expect_connect()
    server.expect_line(b"PING")
    server.send_line(b"PONG")
    with socket.create_connection(server.address) as client:
        client.sendall(b"PING\r\n")
        client.recv(100)


@mistake("the client refused the server's certificate", "tcpclient_testing.tls.client_context()", tls=True)
async def wrong_trust(server: MockTCPServer) -> None:
    server.expect_connect()
    server.expect_line(b"PING")
    _, writer = await asyncio.open_connection("localhost", server.port, ssl=True)
    writer.write(b"PING\r\n")


@mistake("the client sent plain text to a TLS server", "make the server without tls=", tls=True)
async def plain_on_tls(server: MockTCPServer) -> None:
    server.expect_connect()
    server.expect_line(b"PING")
    server.send_line(b"PONG")
    reader, writer = await asyncio.open_connection(*server.address)
    writer.write(b"PING\r\n")
    await reader.readline()


@mistake("the client began a TLS handshake, and this server speaks plain text", "give the server the option tls=True")
async def tls_on_plain(server: MockTCPServer) -> None:
    server.expect_connect()
    server.expect_line(b"PING")
    await asyncio.open_connection("localhost", server.port, ssl=client_context())


@mistake("the client closed with the 6 bytes b'PONG\\r\\n' unread (a reset)",
         "let the client read all that it was sent", watch_streams=False)
async def reply_never_read(server: MockTCPServer) -> None:
    server.expect_connect()
    server.expect_line(b"PING")
    server.send_line(b"PONG")
    client = socket.socket()
    client.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(client, server.address)
    await loop.sock_sendall(client, b"PING\r\n")
    await server.join()
    server.expect_disconnect()
    client.close()


@mistake("the client closed with the 6 bytes b'PONG\\r\\n' unread (a reset)",
         "let the client read all that it was sent")
async def reply_never_read_of_a_stream(server: MockTCPServer) -> None:
    server.expect_connect()
    server.expect_line(b"PING")
    server.send_line(b"PONG")
    _, writer = await asyncio.open_connection(*server.address)
    writer.write(b"PING\r\n")
    await server.join()
    server.expect_disconnect()
    writer.close()
    await writer.wait_closed()


@mistake("takes bytes or a matcher, got the str 'PING'", "write b'PING'")
async def str_for_bytes(server: MockTCPServer) -> None:
    server.expect_connect()
    server.expect_line("PING")  # type: ignore[call-overload]


@mistake("comes before the first expect_connect()", "every script begins with expect_connect()")
async def step_before_expect_connect(server: MockTCPServer) -> None:
    server.expect_line(b"PING")


@mistake("comes after disconnect() on connection 1", "expect_connect() begins the next connection")
async def step_after_disconnect(server: MockTCPServer) -> None:
    server.expect_connect()
    server.disconnect()
    server.send_line(b"BYE")


@mistake("expected 4 bytes b'PING', got 3 (b'PIN')", "server 'replica'", name="primary")
async def two_servers_of_which_one_is_misused(server: MockTCPServer) -> None:
    async with MockTCPServer(name="replica") as replica:
        for each in (server, replica):
            each.expect_connect()
            each.expect_line(b"PING")
            each.send_line(b"PONG")
            each.expect_disconnect()
        for each in (server, replica):
            reader, writer = await asyncio.open_connection(*each.address)
            writer.write(b"PING\r\n" if each is server else b"PIN\r\n")
            await reader.readline()
            writer.close()
            await writer.wait_closed()


@mistake("expected Regex(rb'LOGIN \\w+ \\d+'), got b'LOGIN alice secret'", "got b'LOGIN alice secret'")
async def wrong_matcher(server: MockTCPServer) -> None:
    server.expect_connect()
    server.expect_line(Regex(rb"LOGIN \w+ \d+"))
    server.send_line(b"OK")
    reader, writer = await asyncio.open_connection(*server.address)
    writer.write(b"LOGIN alice secret\r\n")
    await reader.readline()


@mistake("takes bytes, got the str", "write b'LOGIN")
async def regular_expression_of_str(server: MockTCPServer) -> None:
    server.expect_connect()
    server.expect_line(Regex(r"LOGIN \w+"))  # type: ignore[arg-type]


@mistake("at $.id: unexpected key, with the value 7", "unexpected key")
async def extra_json_keys(server: MockTCPServer) -> None:
    server.expect_connect()
    server.expect_line(JSON({"method": "ping"}, exact=True))
    server.send_line(b"{}")
    reader, writer = await asyncio.open_connection(*server.address)
    writer.write(json.dumps({"method": "ping", "id": 7}).encode() + b"\r\n")
    await reader.readline()


@mistake("at $.params.id: expected 7, got 8", "expected 7, got 8")
async def json_value_differs(server: MockTCPServer) -> None:
    server.expect_connect()
    server.expect_line(JSON({"method": "ping", "params": {"id": 7}}))
    server.send_line(b"{}")
    reader, writer = await asyncio.open_connection(*server.address)
    writer.write(json.dumps({"method": "ping", "params": {"id": 8, "force": True}}).encode() + b"\r\n")
    await reader.readline()


@mistake("expected 5 bytes b'hello', got a header that announces 9", "does the client's length include the header")
async def frame_too_long(server: MockTCPServer) -> None:
    server.expect_connect()
    server.expect_frame(b"hello")
    server.send_frame(b"world")
    reader, writer = await asyncio.open_connection(*server.address)
    writer.write(b"\0\0\0\x09hello")
    await reader.readexactly(9)


@mistake("expected b'QUIT', got b'PASS b' at byte 0", "a step for it is missing")
async def script_too_short_in_the_middle(server: MockTCPServer) -> None:
    server.expect_connect()
    server.expect_line(b"USER a")
    server.send_line(b"OK")
    server.expect_line(b"QUIT")
    server.expect_disconnect()
    reader, writer = await asyncio.open_connection(*server.address)
    for line in (b"USER a\r\n", b"PASS b\r\n", b"QUIT\r\n"):
        writer.write(line)
        await reader.readline()


@mistake("the client sent 6 more bytes: b'QUIT\\r\\n'", "write a step for what the client sent", timeout=0.1)
async def script_too_short_at_the_end(server: MockTCPServer) -> None:
    server.expect_connect()
    server.expect_line(b"USER a")
    server.send_line(b"OK")
    reader, writer = await asyncio.open_connection(*server.address)
    for line in (b"USER a\r\n", b"QUIT\r\n"):
        writer.write(line)
        await reader.readline()


@mistake("without sending the line b'QUIT'", "let the client send it")
async def script_too_long(server: MockTCPServer) -> None:
    server.expect_connect()
    server.expect_line(b"PING")
    server.send_line(b"PONG")
    server.expect_line(b"QUIT")
    server.expect_disconnect()
    reader, writer = await asyncio.open_connection(*server.address)
    writer.write(b"PING\r\n")
    await reader.readline()
    writer.close()
    await writer.wait_closed()


@mistake("no client connected", "start the client", timeout=0.1)
async def step_awaited_before_the_client_runs(server: MockTCPServer) -> None:
    await server.expect_connect()
    server.expect_disconnect()
    _, writer = await asyncio.open_connection(*server.address)
    writer.close()
    await writer.wait_closed()


@mistake("the callable of send_line() raised KeyError: b'id=7'", "raised KeyError")
async def callable_raises(server: MockTCPServer) -> None:
    def reply(line: bytes) -> bytes:
        return {b"id=1": b"one"}[line]

    server.expect_connect()
    server.expect_line()
    server.send_line(reply)
    reader, writer = await asyncio.open_connection(*server.address)
    writer.write(b"id=7\r\n")
    await reader.readline()


@mistake("the handler serve() raised KeyError: b'id=7'", "raised KeyError")
async def handler_raises(server: MockTCPServer) -> None:
    async def serve(connection: Connection) -> None:
        async for line in connection.lines():
            connection.send_line({b"id=1": b"one"}[line])

    server.expect_connect()
    server.hand_over(serve)
    reader, writer = await asyncio.open_connection(*server.address)
    writer.write(b"id=7\r\n")
    await reader.readline()


@mistake("got b'PANG\\r\\n'", "send_line(b'PANG')")
async def assertion_of_the_test_itself(server: MockTCPServer) -> None:
    server.expect_connect()
    server.expect_line(b"PING")
    server.send_line(b"PANG")
    server.expect_disconnect()
    reader, writer = await asyncio.open_connection(*server.address)
    writer.write(b"PING\r\n")
    reply = await reader.readline()
    if reply != b"PONG\r\n":
        raise AssertionError(f"got {reply!r}")
