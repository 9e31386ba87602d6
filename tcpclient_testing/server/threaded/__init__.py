"""The server that runs in a thread of its own: the same scripts, for clients that block."""
