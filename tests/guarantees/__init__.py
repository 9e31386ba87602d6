"""The guarantees that the whole package gives, each with a test that would notice."""
