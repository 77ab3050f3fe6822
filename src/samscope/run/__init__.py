"""How work is started: command line, queue, archives, a warm start."""
