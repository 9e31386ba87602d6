"""A script, compared with what really happens on one connection."""
