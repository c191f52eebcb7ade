"""The intermediate representation: typed regions, their table of ops, text form, verifier and evaluator."""
