"""Passes over regions: what LLVM cannot know. One file a pass, each headed by an example.

A pass takes a valid region and gives a valid region that ends each run in the same way, or goes on natively
where the interpreter would have come to the same. What follows from arithmetic alone (constant folding,
common subexpressions, hoisting) is left to LLVM. `pipeline` has the order.
"""
