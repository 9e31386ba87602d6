"""What users hold: the servers, their connections, and the judgement when a server is left."""
