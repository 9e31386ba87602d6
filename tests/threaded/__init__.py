"""Tests of the server in a thread."""
