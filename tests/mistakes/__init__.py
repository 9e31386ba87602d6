"""Deliberate mistakes of clients and of tests, each with the whole report to which it leads: see `test_reports`."""
