"""Mistakes in tests of clients that block, with a server in a thread. They are kept as those in `asynchronous` are."""

from __future__ import annotations

import json
import socket
import ssl
import struct

from tcpclient_testing import Connection, ThreadedMockTCPServer
from tcpclient_testing.matchers import JSON, Regex
from tcpclient_testing.tls import client_context

from .table import mistake

__all__ = ["MISTAKES"]

MISTAKES = mistake.table()


@mistake("expected b'door=open', got b'door=opne' at byte 7", "at byte 7")
def wrong_byte(server: ThreadedMockTCPServer) -> None:
    server.expect_connect()
    server.expect_line(b"door=open")
    server.expect_disconnect()
    with socket.create_connection(server.address) as client:
        client.sendall(b"door=opne\r\n")
        client.recv(100)


@mistake("got b'PING' without its ending b'\\r\\n'", "let the client send the ending", timeout=0.1)
def missing_ending(server: ThreadedMockTCPServer) -> None:
    server.expect_connect()
    server.expect_line(b"PING")
    server.send_line(b"PONG")
    with socket.create_connection(server.address) as client:
        client.sendall(b"PING")
        client.recv(100)


@mistake("b'PING' ends in LF alone, the script's in CR LF", "write ending=b'\\n'")
def lf_for_cr_lf(server: ThreadedMockTCPServer) -> None:
    server.expect_connect()
    server.expect_line(b"PING")
    server.send_line(b"PONG")
    with socket.create_connection(server.address) as client:
        client.sendall(b"PING\n")
        client.recv(100)


@mistake("no client connected", "nothing is running that could connect", timeout=0.1)
def never_connects(server: ThreadedMockTCPServer) -> None:
    server.expect_connect()
    server.expect_line(b"PING")
    server.join()


@mistake("unexpected connection 2: the script has one expect_connect()", "write another expect_connect()")
def connects_twice(server: ThreadedMockTCPServer) -> None:
    server.expect_connect()
    server.expect_line(b"PING")
    server.expect_disconnect()
    for _ in range(2):
        with socket.create_connection(server.address) as client:
            client.sendall(b"PING\r\n")
        server.join()


@mistake("expected the client to disconnect, got 6 bytes: b'PING\\r\\n'", "got 6 bytes")
def sends_too_much(server: ThreadedMockTCPServer) -> None:
    server.expect_connect()
    server.expect_line(b"PING")
    server.expect_disconnect()
    with socket.create_connection(server.address) as client:
        client.sendall(b"PING\r\nPING\r\n")


@mistake("got only 5 (b'HELLO'), then nothing", "expected 11 bytes b'HELLO WORLD'", timeout=0.1)
def sends_too_little_and_waits(server: ThreadedMockTCPServer) -> None:
    server.expect_connect()
    server.expect_bytes(b"HELLO WORLD")
    server.send_bytes(b"OK")
    with socket.create_connection(server.address) as client:
        client.sendall(b"HELLO")
        client.recv(100)


@mistake("without sending the line b'QUIT'", "let the client send it")
def half_closes(server: ThreadedMockTCPServer) -> None:
    server.expect_connect()
    server.expect_line(b"PING")
    server.send_line(b"PONG")
    server.expect_line(b"QUIT")
    with socket.create_connection(server.address) as client:
        client.sendall(b"PING\r\n")
        client.shutdown(socket.SHUT_WR)
        while client.recv(100):
            pass


@mistake("expected the client to disconnect, but it reset the connection", "write expect_reset()")
def resets(server: ThreadedMockTCPServer) -> None:
    server.expect_connect()
    server.expect_line(b"PING")
    with socket.create_connection(server.address) as client:
        client.sendall(b"PING\r\n")
        server.join()
        server.expect_disconnect()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


@mistake("the client refused the server's certificate", "tcpclient_testing.tls.client_context()", tls=True)
def wrong_trust(server: ThreadedMockTCPServer) -> None:
    server.expect_connect()
    server.expect_line(b"PING")
    with socket.create_connection(server.address) as client:
        ssl.create_default_context().wrap_socket(client, server_hostname="localhost")


@mistake("the client sent plain text to a TLS server", "make the server without tls=", tls=True)
def plain_on_tls(server: ThreadedMockTCPServer) -> None:
    server.expect_connect()
    server.expect_line(b"PING")
    server.send_line(b"PONG")
    with socket.create_connection(server.address) as client:
        client.sendall(b"PING\r\n")
        client.recv(100)


@mistake("the client began a TLS handshake, and this server speaks plain text", "give the server the option tls=True")
def tls_on_plain(server: ThreadedMockTCPServer) -> None:
    server.expect_connect()
    server.expect_line(b"PING")
    with socket.create_connection(server.address) as client:
        client_context().wrap_socket(client, server_hostname="localhost")


@mistake("the client closed with the 6 bytes b'PONG\\r\\n' unread (a reset)",
         "let the client read all that it was sent")
def reply_never_read(server: ThreadedMockTCPServer) -> None:
    server.expect_connect()
    server.expect_line(b"PING")
    server.send_line(b"PONG")
    with socket.create_connection(server.address) as client:
        client.sendall(b"PING\r\n")
        server.join()
        server.expect_disconnect()
    server.join()


@mistake("takes bytes or a matcher, got the str 'PING'", "write b'PING'")
def str_for_bytes(server: ThreadedMockTCPServer) -> None:
    server.expect_connect()
    server.expect_line("PING")  # type: ignore[call-overload]


@mistake("comes before the first expect_connect()", "every script begins with expect_connect()")
def step_before_expect_connect(server: ThreadedMockTCPServer) -> None:
    server.expect_line(b"PING")


@mistake("comes after disconnect() on connection 1", "expect_connect() begins the next connection")
def step_after_disconnect(server: ThreadedMockTCPServer) -> None:
    server.expect_connect()
    server.disconnect()
    server.send_line(b"BYE")


@mistake("expected 4 bytes b'PING', got 3 (b'PIN')", "server 'replica'", name="primary")
def two_servers_of_which_one_is_misused(server: ThreadedMockTCPServer) -> None:
    with ThreadedMockTCPServer(name="replica") as replica:
        for each in (server, replica):
            each.expect_connect()
            each.expect_line(b"PING")
            each.send_line(b"PONG")
            each.expect_disconnect()
        for each in (server, replica):
            with socket.create_connection(each.address) as client:
                client.sendall(b"PING\r\n" if each is server else b"PIN\r\n")
                client.recv(100)


@mistake("expected Regex(rb'LOGIN \\w+ \\d+'), got b'LOGIN alice secret'", "got b'LOGIN alice secret'")
def wrong_matcher(server: ThreadedMockTCPServer) -> None:
    server.expect_connect()
    server.expect_line(Regex(rb"LOGIN \w+ \d+"))
    server.send_line(b"OK")
    with socket.create_connection(server.address) as client:
        client.sendall(b"LOGIN alice secret\r\n")
        client.recv(100)


@mistake("takes bytes, got the str", "write b'LOGIN")
def regular_expression_of_str(server: ThreadedMockTCPServer) -> None:
    server.expect_connect()
    server.expect_line(Regex(r"LOGIN \w+"))  # type: ignore[arg-type]


@mistake("at $.id: unexpected key, with the value 7", "unexpected key")
def extra_json_keys(server: ThreadedMockTCPServer) -> None:
    server.expect_connect()
    server.expect_line(JSON({"method": "ping"}, exact=True))
    server.send_line(b"{}")
    with socket.create_connection(server.address) as client:
        client.sendall(json.dumps({"method": "ping", "id": 7}).encode() + b"\r\n")
        client.recv(100)


@mistake("expected 5 bytes b'hello', got a header that announces 9", "does the client's length include the header")
def frame_too_long(server: ThreadedMockTCPServer) -> None:
    server.expect_connect()
    server.expect_frame(b"hello")
    server.send_frame(b"world")
    with socket.create_connection(server.address) as client:
        client.sendall(b"\0\0\0\x09hello")
        client.recv(100)


@mistake("expected b'QUIT', got b'PASS b' at byte 0", "a step for it is missing")
def script_too_short_in_the_middle(server: ThreadedMockTCPServer) -> None:
    server.expect_connect()
    server.expect_line(b"USER a")
    server.send_line(b"OK")
    server.expect_line(b"QUIT")
    server.expect_disconnect()
    with socket.create_connection(server.address) as client:
        for line in (b"USER a\r\n", b"PASS b\r\n", b"QUIT\r\n"):
            client.sendall(line)
            client.recv(100)


@mistake("the client sent 6 more bytes: b'QUIT\\r\\n'", "write a step for what the client sent", timeout=0.1)
def script_too_short_at_the_end(server: ThreadedMockTCPServer) -> None:
    server.expect_connect()
    server.expect_line(b"USER a")
    server.send_line(b"OK")
    with socket.create_connection(server.address) as client:
        for line in (b"USER a\r\n", b"QUIT\r\n"):
            client.sendall(line)
            client.recv(100)


@mistake("without sending the line b'QUIT'", "let the client send it")
def script_too_long(server: ThreadedMockTCPServer) -> None:
    server.expect_connect()
    server.expect_line(b"PING")
    server.send_line(b"PONG")
    server.expect_line(b"QUIT")
    server.expect_disconnect()
    with socket.create_connection(server.address) as client:
        client.sendall(b"PING\r\n")
        client.recv(100)


@mistake("no client connected", "start the client", timeout=0.1)
def step_awaited_before_the_client_runs(server: ThreadedMockTCPServer) -> None:
    server.expect_connect().result()
    server.expect_disconnect()
    with socket.create_connection(server.address):
        pass


@mistake("the callable of send_line() raised KeyError: b'id=7'", "raised KeyError")
def callable_raises(server: ThreadedMockTCPServer) -> None:
    def reply(line: bytes) -> bytes:
        return {b"id=1": b"one"}[line]

    server.expect_connect()
    server.expect_line()
    server.send_line(reply)
    with socket.create_connection(server.address) as client:
        client.sendall(b"id=7\r\n")
        client.recv(100)


@mistake("the handler serve() raised KeyError: b'id=7'", "raised KeyError")
def handler_raises(server: ThreadedMockTCPServer) -> None:
    async def serve(connection: Connection) -> None:
        async for line in connection.lines():
            connection.send_line({b"id=1": b"one"}[line])

    server.expect_connect()
    server.hand_over(serve)
    with socket.create_connection(server.address) as client:
        client.sendall(b"id=7\r\n")
        client.recv(100)


@mistake("got b'PANG\\r\\n'", "send_line(b'PANG')")
def assertion_of_the_test_itself(server: ThreadedMockTCPServer) -> None:
    server.expect_connect()
    server.expect_line(b"PING")
    server.send_line(b"PANG")
    server.expect_disconnect()
    with socket.create_connection(server.address) as client:
        client.sendall(b"PING\r\n")
        reply = client.recv(100)
        if reply != b"PONG\r\n":
            raise AssertionError(f"got {reply!r}")
