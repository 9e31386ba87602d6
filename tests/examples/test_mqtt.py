"""A client of a message queue that has a thread of its own, paho-mqtt: acknowledgements by number, pings, a reconnect.

A packet is a byte with its type, the length of the rest (seven bits in each byte, the lowest first), and the rest (MQTT
3.1.1, 2.2).
"""

from __future__ import annotations

import importlib.util
import unittest
from typing import Any, Optional

from tcpclient_testing import ThreadedMockTCPServerMixin
from tcpclient_testing.framing import Framing, FramingError
from tcpclient_testing.matchers import Regex, StartsWith

HAS_PAHO = importlib.util.find_spec("paho") is not None

CONNECT, CONNACK, PUBLISH, PUBACK = b"\x10", b"\x20\x00\x00", b"\x32", b"\x40"
PINGREQ, PINGRESP, DISCONNECT = b"\xc0\x00", b"\xd0\x00", b"\xe0"


class Packets(Framing):
    """Packets of MQTT; the payload is the type and the rest, without the length between them."""

    def encode(self, payload: bytes) -> bytes:
        """Put the length of the rest behind the type; these packets are short."""
        return payload[:1] + bytes([len(payload) - 1]) + payload[1:]

    def decode(self, data: bytes) -> Optional[tuple[bytes, int]]:
        """The type and the rest, when they are there."""
        length = 0
        for position, byte in enumerate(data[1:5]):
            length |= (byte & 0x7f) << 7 * position
            if byte < 0x80:
                begin = position + 2
                end = begin + length
                return (data[:1] + data[begin:end], end) if len(data) >= end else None
        if len(data) >= 5:
            raise FramingError("the length goes on after four bytes", offset=4)
        return None


def acknowledge(publish: Any) -> bytes:
    """The PUBACK for a PUBLISH whose number a regular expression has found."""
    return PUBACK + bytes(publish["number"])


@unittest.skipUnless(HAS_PAHO, "needs the package paho-mqtt")
class MQTTTests(ThreadedMockTCPServerMixin, unittest.TestCase):
    """What is published comes with a number, which the acknowledgement has to carry back."""

    tcpserver_options = {"framing": Packets()}

    def start(self) -> Any:
        """The client under test, whose thread runs until the test ends."""
        import paho.mqtt.client as mqtt
        client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id="tester", reconnect_on_failure=True)
        client.reconnect_delay_set(min_delay=0.05, max_delay=0.05)
        client.connect(self.tcpserver.host, self.tcpserver.port, keepalive=60)
        client.loop_start()
        self.addCleanup(client.loop_stop)
        return client

    def expect_session(self) -> None:
        """Script the beginning of a session; pings may come at any time."""
        server = self.tcpserver
        server.expect_connect()
        server.allow(PINGREQ, reply=PINGRESP)
        server.expect_frame(Regex(rb"\x10\x00\x04MQTT\x04.*\x00\x06tester"))
        server.send_frame(CONNACK)

    def test_publish(self) -> None:
        """The client knows that a message has arrived once it was acknowledged, by its number."""
        server = self.tcpserver
        self.expect_session()
        server.expect_frame(Regex(rb"\x32\x00\x04news(?P<number>..)hello"))
        server.send_frame(acknowledge)
        server.expect_frame(DISCONNECT)
        server.expect_disconnect()

        client = self.start()
        published = client.publish("news", b"hello", qos=1)
        published.wait_for_publish(10)
        self.assertTrue(published.is_published())
        client.disconnect()
        server.join()

    def test_publish_again_after_a_reset(self) -> None:
        """A message whose acknowledgement is lost is sent again, marked as such, over a new connection."""
        server = self.tcpserver
        self.expect_session()
        server.expect_frame(StartsWith(PUBLISH + b"\x00\x04news"))
        server.reset()
        self.expect_session()
        server.expect_frame(Regex(rb"\x3a\x00\x04news(?P<number>..)hello"))  # the flag DUP, 0x08, is set
        server.send_frame(acknowledge)
        server.expect_frame(DISCONNECT)
        server.expect_disconnect()

        client = self.start()
        client.publish("news", b"hello", qos=1).wait_for_publish(10)
        client.disconnect()
        server.join()


if __name__ == "__main__":
    unittest.main()
