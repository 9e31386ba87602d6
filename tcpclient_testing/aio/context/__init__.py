"""What the parts of a running server, and of one of its connections, may ask and use."""
