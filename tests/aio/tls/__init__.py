"""Tests of TLS on an accepted connection."""
