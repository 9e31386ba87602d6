"""What else goes on in the process: blocked loops, debuggers, threads, child processes."""
