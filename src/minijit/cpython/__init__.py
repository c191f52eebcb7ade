"""What minijit knows of the interpreter it runs in: layouts, hooks, watchers, raw memory."""
