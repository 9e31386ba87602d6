"""Complete examples, each a test that can be run by itself."""
