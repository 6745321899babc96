"""Types, checks, arrays, numbers, trees, tapes, threads, memory: the foundation of the package."""
