"""Tests of framings."""
