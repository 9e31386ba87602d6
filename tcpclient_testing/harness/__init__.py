"""One test, one report: interrupts the test when a script has failed, and decides which exception the test raises."""
