"""Types, checks, arrays, numbers, trees, tapes, threads, memory: what all else stands on."""
