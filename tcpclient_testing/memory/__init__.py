"""The engine without sockets, loop or clock: scripts are compared with clients that are played by calls."""
