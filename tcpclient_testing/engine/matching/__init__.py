"""How one message is judged: one file for each family of matchers, and the reading of a message."""
