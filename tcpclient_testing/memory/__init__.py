"""The engine without sockets, loop or clock: scripts are held against clients that are played by calls."""
