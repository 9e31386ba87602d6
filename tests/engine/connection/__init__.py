"""Tests of the state of one connection."""
