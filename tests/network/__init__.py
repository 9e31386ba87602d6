"""Tests of tcpclient_testing.network."""
