"""The client's own asyncio streams: what it did with them, and the rules for it."""
