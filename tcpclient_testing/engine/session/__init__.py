"""All conversations of one server: their order, their connections, and what is left at the end."""
