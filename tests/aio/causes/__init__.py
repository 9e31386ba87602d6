"""Tests of what watches the rest of the process: blocked loops, threads, debuggers."""
