"""The transcript: what happened, in order, with times. It is cheap to record, and rendered only when it is shown."""
