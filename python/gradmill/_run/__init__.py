"""Steps: runs of a transformation, native ones as programs, and what is told of them."""
