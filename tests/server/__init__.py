"""Tests of what users hold."""
