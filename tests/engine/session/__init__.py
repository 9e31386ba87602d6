"""Tests of all conversations of a server."""
