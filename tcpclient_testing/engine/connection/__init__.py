"""The state of one accepted connection, apart from its script: TLS, and what is sent between the steps."""
