"""The tests that servers belong to which are opened outside of the body: in a set-up, or in a fixture."""
