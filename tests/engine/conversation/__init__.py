"""Tests of a script and what really happens."""
