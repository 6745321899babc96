"""The arithmetic of the ops: one file a family, under the names of those in Rust."""
