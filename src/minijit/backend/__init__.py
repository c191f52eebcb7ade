"""From regions to machine code: lowering to LLVM IR, and the engine that compiles and places the result."""
