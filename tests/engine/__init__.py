"""Tests of the engine: no socket, no loop, no clock."""
