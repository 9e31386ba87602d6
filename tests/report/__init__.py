"""Tests of reports and their hints."""
