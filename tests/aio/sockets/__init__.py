"""Tests of sockets, and of what the kernel says of them."""
