"""Tests of one test, one report."""
