"""What can stand in a script: one class for each expectation and each action."""
