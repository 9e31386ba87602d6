"""Runs the engine in an asyncio event loop: accepts clients, carries out its commands, lets tasks wait for steps."""
