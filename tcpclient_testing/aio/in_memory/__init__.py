"""A network without an operating system: connections between clients and servers of one event loop."""
