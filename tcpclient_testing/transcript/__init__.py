"""What happened, in order, with times: kept cheaply, rendered only when somebody looks."""
