"""Test TCP clients against a real server that follows a script."""
