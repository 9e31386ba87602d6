"""Runs the engine on asyncio: sockets, the event loop's clock, and a record of what the client did with its streams."""
