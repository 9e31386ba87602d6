"""What gevent and eventlet replace in the standard library ("monkey patching"), as it was before.

With their replacements, a thread is a greenlet: it runs in the thread that has started it, and only while the others
wait. A server can't live like that, because its loop would be the running loop of the test, too. So a server's thread,
its loop and its sockets are made of the originals:

- If this module is imported before the patching, it keeps them.
- Otherwise the patching library has them. It is looked up in `sys.modules`; nothing here imports it.

The names are those of the standard library, except for `Socket` and `Selector`, which are `socket.socket` and
`selectors.DefaultSelector`.
"""

from __future__ import annotations

import _socket
import _thread
import importlib.util
import select
import selectors
import socket
import sys
import time
import weakref
from types import ModuleType
from typing import TYPE_CHECKING, Any, Callable, Optional

__all__ = ["Selector", "Socket", "accept", "allocate_lock", "current_greenlet", "epoll", "get_ident", "greenlets_pause",
           "patched", "poll", "sleep", "socketpair", "start_new_thread"]

__unittest = True


def _original(module: ModuleType, name: str) -> Any:
    """Return what a name stood for in a module before the patching; None if it is not there at all."""
    name_of_module = module.__name__
    gevent: Any = sys.modules.get("gevent.monkey")
    if gevent is not None and gevent.is_object_patched(name_of_module, name):
        return gevent.get_original(name_of_module, name)
    if _eventlet_has_patched():
        module = _original_selectors() if module is selectors else _patcher().original(name_of_module)
    return getattr(module, name, None)


def _patcher() -> Any:
    return sys.modules.get("eventlet.patcher")


def _eventlet_has_patched() -> bool:
    return bool(getattr(_patcher(), "already_patched", None))


def _original_selectors() -> ModuleType:
    """Load a copy of the module `selectors` that uses the original `select`; eventlet keeps none."""
    spec = importlib.util.find_spec("selectors")
    assert spec is not None and spec.loader is not None
    copy = importlib.util.module_from_spec(spec)
    patched_select = sys.modules["select"]
    sys.modules["select"] = _patcher().original("select")
    try:
        spec.loader.exec_module(copy)
    finally:
        sys.modules["select"] = patched_select
    return copy


start_new_thread: Callable[..., int] = _original(_thread, "start_new_thread")
allocate_lock: Callable[[], _thread.LockType] = _original(_thread, "allocate_lock")
get_ident: Callable[[], int] = _original(_thread, "get_ident")
sleep: Callable[[float], None] = _original(time, "sleep")
# Not there on every system.
poll: Any = _original(select, "poll")
epoll: Any = _original(select, "epoll")

if TYPE_CHECKING:
    from selectors import DefaultSelector as Selector
    from socket import socket as Socket  # noqa: N812 - a class
else:
    Socket = _original(socket, "socket")
    Selector = _original(selectors, "DefaultSelector")


def patched() -> bool:
    """Whether what `threading` starts now is a greenlet."""
    return _thread.start_new_thread is not start_new_thread


def socketpair() -> tuple[Socket, Socket]:
    """Return two connected sockets, as `socket.socketpair` does."""
    if socket.socket is Socket:
        return socket.socketpair()
    system: Any = _socket  # Windows' has none; there nothing but this, for greenlets, would need it
    one, other = system.socketpair()
    return _plain(one), _plain(other)


def accept(listener: Any) -> tuple[Socket, Any]:
    """Accept a client, as ``listener.accept()`` does. That would make a socket of the patched class."""
    if socket.socket is Socket:
        accepted: tuple[Socket, Any] = listener.accept()
        return accepted
    descriptor, address = listener._accept()
    return Socket(listener.family, listener.type, listener.proto, fileno=descriptor), address


def _plain(raw: Any) -> Socket:
    return Socket(raw.family, raw.type, raw.proto, raw.detach())


def current_greenlet() -> Optional[weakref.ref[Any]]:
    """Return a reference to the greenlet that runs; None if nobody has loaded the library for greenlets."""
    greenlet: Any = sys.modules.get("greenlet")
    return None if greenlet is None else weakref.ref(greenlet.getcurrent())


def greenlets_pause() -> Optional[Callable[[float], object]]:
    """Return the sleep (seconds) that lets the other greenlets of the calling thread run; None if there are none.

    Whatever waits in such a thread must wait by this, or the client of the test, which may be another greenlet, would
    wait, too. It also counts if nothing is patched, and the client calls gevent or eventlet itself.
    """
    gevent: Any = sys.modules.get("gevent")
    local: Any = sys.modules.get("gevent._hub_local")
    if gevent is not None and local is not None:
        hub = local.get_hub_if_exists()
        if hub is not None and hub is not gevent.getcurrent():
            return gevent.sleep  # type: ignore[no-any-return]
    eventlet: Any = sys.modules.get("eventlet")
    hubs: Any = sys.modules.get("eventlet.hubs")
    if eventlet is not None and hubs is not None:
        hub = getattr(hubs._threadlocal, "hub", None)
        if hub is not None and hub.greenlet is not hubs.greenlet.getcurrent():
            return eventlet.sleep  # type: ignore[no-any-return]
    return None
