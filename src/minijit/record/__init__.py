"""Recording: what the interpreter executes from a root, or from a hot exit, until it is back on known ground."""
