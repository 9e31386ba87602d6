"""Tests of threads and sockets beside greenlets."""
