"""Steps: runs of a transformation, native ones as programs, and their reports."""
