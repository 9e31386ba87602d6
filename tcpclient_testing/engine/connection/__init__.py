"""The state of one connection, apart from its script: what the client sends, what the server sends, TLS."""
