"""The arithmetic of the ops: one file per family, named as in Rust."""
