"""One accepted connection in asyncio: what is received, sent, delayed, and how it ends."""
