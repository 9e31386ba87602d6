"""One test, one report: which exception a test raises in the end; knows no test framework."""
