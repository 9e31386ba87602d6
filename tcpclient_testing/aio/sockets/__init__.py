"""Sockets: listening, accepting, and what the kernel knows of a connection."""
