"""Tests of virtual time."""
