"""Tests of the server that runs in a thread of its own."""
