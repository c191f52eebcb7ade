"""Finding out where minijit is wrong, if a program under it does not do what CPython does.

`check` compares each region with what the passes and the lowering made of it; `bisect` finds the region and the stage
that make a program differ; `reduce` makes such a program small. None of it runs unless it is asked for:
the driver imports `check` under the stress mode of that name, the command line the others.
"""
