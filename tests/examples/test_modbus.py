"""Modbus/TCP with a real client: the transaction id of each request comes back in its reply.

A frame is a header of seven bytes (transaction, protocol, length, unit) and what the length says; the length counts the
unit's byte (MODBUS Messaging on TCP/IP Implementation Guide V1.0b, 3.1.3).
"""

from __future__ import annotations

import importlib.util
import struct
import unittest
from typing import Optional

from tcpclient_testing import MockTCPServerMixin
from tcpclient_testing.framing import Framing, FramingError
from tcpclient_testing.matchers import Struct, anything

HAS_PYMODBUS = importlib.util.find_spec("pymodbus") is not None


class Modbus(Framing):
    """Frames of Modbus/TCP; the payload is the whole frame, since the reply needs its header."""

    def encode(self, payload: bytes) -> bytes:
        """The payload is a frame."""
        return payload

    def decode(self, data: bytes) -> Optional[tuple[bytes, int]]:
        """The frame, when it is there."""
        if len(data) < 6:
            return None
        _, protocol, length = struct.unpack(">HHH", data[:6])
        if protocol:
            raise FramingError(f"expected protocol 0, got {protocol}", offset=2)
        return (data[:6 + length], 6 + length) if len(data) >= 6 + length else None


REQUEST = struct.Struct(">HHHBBHH")  # transaction, protocol, length, unit, function, address, count


def registers(*values: int) -> bytes:
    """The data of a reply."""
    return struct.pack(f">BB{len(values)}H", 3, 2 * len(values), *values)


def reply_to(frame: bytes, data: bytes) -> bytes:
    """A reply frame with the request's transaction and unit."""
    transaction, _, _, unit, *_ = REQUEST.unpack(frame)
    return struct.pack(">HHHB", transaction, 0, len(data) + 1, unit) + data


@unittest.skipUnless(HAS_PYMODBUS, "needs the package pymodbus")
class ModbusTests(MockTCPServerMixin, unittest.IsolatedAsyncioTestCase):
    """Two reads of holding registers."""

    tcpserver_options = {"framing": Modbus(), "watch_streams": False}

    async def test_reads(self) -> None:
        """Whatever the transaction ids are that the client chooses, the replies carry them back."""
        from pymodbus.client import AsyncModbusTcpClient

        server = self.tcpserver
        server.expect_connect()
        first = server.expect_frame(Struct(">HHHBBHH", anything, 0, 6, 1, 3, 10, 2))
        server.send_frame(lambda fields: reply_to(REQUEST.pack(*fields), registers(7, 8)))
        second = server.expect_frame(Struct(">HHHBBHH", anything, 0, 6, 1, 3, 20, 1))
        server.send_frame(lambda fields: reply_to(REQUEST.pack(*fields), registers(9)))
        server.expect_disconnect()

        client = AsyncModbusTcpClient(server.host, port=server.port, reconnect_delay=0)
        await client.connect()
        self.assertEqual((await client.read_holding_registers(10, count=2)).registers, [7, 8])
        self.assertEqual((await client.read_holding_registers(20, count=1)).registers, [9])
        client.close()
        await server.join()
        self.assertNotEqual(first.result()[0], second.result()[0])
