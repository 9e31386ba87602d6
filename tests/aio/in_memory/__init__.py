"""Tests of connections in memory, and of the loop that they see."""
