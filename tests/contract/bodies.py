"""The bodies of tests, written once as generators, and run by code that awaits and by code that blocks.

A body yields what it wants done, and gets the result; an exception is raised where it waits.
"""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Generator
from typing import Any, Callable, Optional

from .clients import Operation, SocketClient, StreamClient, read

#: What a body yields: a function that does what it wants, and returns the result, or an awaitable of it.
Wish = Callable[[], Any]

Body = Generator[Wish, Any, None]


class Tools:
    """What a body works with: a server, and a client of the kind that fits its surrounding.

    `case` is the unittest case in which the body runs, None elsewhere.
    """

    def __init__(self, server: Any, *, tls: Any, asynchronous: bool, case: Any = None) -> None:
        self.server = server
        self.case = case
        self.asynchronous = asynchronous
        self._tls = tls
        self._kind: Any = StreamClient if asynchronous else SocketClient
        self._clients: list[Any] = []

    @property
    def client(self) -> Any:
        """The client; each body has one, unless it makes another."""
        return self._clients[-1] if self._clients else self.another()

    def another(self) -> Any:
        """Make another client; `client` is that one from now on."""
        self._clients.append(self._kind(self.server.address, self._tls))
        return self._clients[-1]

    def use(self, server: Any) -> None:
        """Talk to another server from now on, with another client."""
        self.server = server
        self.another()

    def run(self, *program: Operation) -> Wish:
        """Let the client do this."""
        client = self.client
        return lambda: client.run(program)

    def result(self, step: Any) -> Wish:
        """Wait for a step."""
        return (lambda: step) if self.asynchronous else (lambda: step.result(20))

    def join(self, **options: Any) -> Wish:
        """Wait for the script."""
        return lambda: self.server.join(**options)

    def stop(self) -> Wish:
        """Stop the server."""
        return self.server.stop

    def pause(self) -> Wish:
        """Wait for ever, or until the script has failed: blocking code can't be interrupted, and waits for that."""
        if self.asynchronous:
            return lambda: asyncio.sleep(20)
        return lambda: self.client.run((read(1),))

    def sleep(self, seconds: float) -> Wish:
        """Do nothing for so many seconds."""
        return (lambda: asyncio.sleep(seconds)) if self.asynchronous else (lambda: time.sleep(seconds))

    def close(self) -> None:
        """End all clients."""
        for client in self._clients:
            client.abort()


async def drive(body: Body) -> None:
    """Run a body in an event loop."""
    value: Any = None
    error: Optional[BaseException] = None
    while True:
        try:
            wish = body.send(value) if error is None else body.throw(error)
        except StopIteration:
            return
        try:
            value, error = wish(), None
            if inspect.isawaitable(value):
                value = await value
        except BaseException as raised:
            value, error = None, raised


def drive_blocking(body: Body) -> None:
    """Run a body in code that blocks."""
    value: Any = None
    error: Optional[BaseException] = None
    while True:
        try:
            wish = body.send(value) if error is None else body.throw(error)
        except StopIteration:
            return
        try:
            value, error = wish(), None
        except BaseException as raised:
            value, error = None, raised
