"""Tests of servers that are opened in a set-up."""
