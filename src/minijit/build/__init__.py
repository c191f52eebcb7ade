"""From recorded bytecode to a region: abstract interpretation with block versions."""
