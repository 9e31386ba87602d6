"""A script held against what really happens on one connection."""
