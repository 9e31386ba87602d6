"""Tests of the server without sockets, which the tests of the engine are played on."""
