"""TLS on an accepted connection: the layer, its errors, and close_notify."""
