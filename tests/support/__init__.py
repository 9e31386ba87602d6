"""Helpers that several test files share; no tests are found here."""
