"""Benchmarks: what the server costs beside code that one would write by hand. Run ``python -m tests.benchmarks``."""
