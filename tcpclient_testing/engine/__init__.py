"""The sans-I/O core: scripts, conversations and verdicts, without a socket, a loop, a clock or a thread."""
