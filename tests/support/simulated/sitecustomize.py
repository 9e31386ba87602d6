"""Simulates another platform in every Python that is started with this folder on PYTHONPATH.

It is like Windows in what it lacks: the default loop has only the methods of the Proactor; there is no ``/proc``, no
netlink, no Unix-domain socket, no `fork`, no `poll`; `select` takes 512 sockets; the clock ticks every 15.6 ms.
"""

import asyncio
import builtins
import io
import math
import multiprocessing
import os
import select
import selectors
import socket
import sys
import sysconfig
import time
import types

import proactor

_PROC = "/proc"
_LIMIT = 512


def _hides_proc(module, name):
    """Let a function find nothing in /proc."""
    function = getattr(module, name)

    def hiding(path=".", *args, **kwargs):
        if isinstance(path, (str, bytes, os.PathLike)) and os.fsdecode(path).startswith(_PROC):
            raise FileNotFoundError(2, "No such file or directory", path)
        return function(path, *args, **kwargs)
    hiding.__name__ = name
    setattr(module, name, hiding)


def _without(module, *names):
    for name in names:
        if hasattr(module, name):
            delattr(module, name)


def _pair(family=None, type=socket.SOCK_STREAM, proto=0):  # noqa: A002 - the name in the standard library
    """Do what socket.socketpair() of Windows does."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        ours = socket.create_connection(listener.getsockname())
        theirs, _ = listener.accept()
    return ours, theirs


def _limited(function):
    def limited(rlist, wlist, xlist, timeout=None):
        if max(map(len, (rlist, wlist, xlist))) > _LIMIT:
            raise ValueError("too many file descriptors in select()")
        return function(rlist, wlist, xlist, timeout)
    return limited


def _coarse(function):
    def coarse():
        return math.floor(function() / proactor.TICK) * proactor.TICK
    return coarse


def _info(function):
    def get_clock_info(name):
        info = function(name)
        if name == "monotonic":
            info.resolution = proactor.TICK
        return info
    return get_clock_info


def simulate():
    """Let this process run on the simulated platform."""
    for module, name in ((builtins, "open"), (io, "open"), (os, "open"), (os, "listdir"), (os, "readlink"),
                         (os, "scandir"), (os, "stat")):
        _hides_proc(module, name)
    _without(os, "fork", "forkpty", "register_at_fork", "waitid", "pidfd_open", "wait3", "wait4")
    multiprocessing.set_start_method("spawn")
    socket.socketpair = _pair
    _without(socket, "AF_UNIX", "AF_NETLINK", "TCP_QUICKACK", "TCP_INFO", "MSG_DONTWAIT", "TCP_MAXSEG", "SO_REUSEPORT")
    _without(time, "pthread_getcpuclockid")
    selectors.select = types.SimpleNamespace(**vars(select))  # what the simulated Proactor is made of
    _without(select, *(name for name in dir(select) if name.lower().startswith(("poll", "epoll"))))
    select.select = _limited(select.select)
    selectors.SelectSelector._select = staticmethod(select.select)
    selectors.DefaultSelector = selectors.SelectSelector
    _without(selectors, "EpollSelector", "PollSelector")
    time.monotonic = _coarse(time.monotonic)
    time.get_clock_info = _info(time.get_clock_info)
    for policy in (asyncio.DefaultEventLoopPolicy,):
        policy._loop_factory = proactor.ProactorLoop
    sysconfig.get_config_vars()  # it reads a file that is named after the platform
    sys.platform = "simulated"


simulate()
