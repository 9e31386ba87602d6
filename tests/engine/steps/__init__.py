"""Tests of the steps of a script."""
