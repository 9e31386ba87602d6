"""Errors by which clients end by themselves: found while a test waits, and reported as the cause."""
