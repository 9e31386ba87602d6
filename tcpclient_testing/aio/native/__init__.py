"""Threads, locks, sockets and polling as the system has them, also where gevent or eventlet has replaced Python's."""
