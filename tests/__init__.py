"""The test suite: one file for each source file, folder by folder."""
