"""The engine on asyncio: sockets, the event loop's clock, and what the client's streams did."""
