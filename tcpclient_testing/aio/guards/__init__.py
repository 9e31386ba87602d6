"""Ends what keeps a server from serving: a client or a test that blocks its loop, a callable that blocks its thread."""
