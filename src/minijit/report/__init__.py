"""What people look at: explanations of single functions."""
