"""Adapters against the programs that they are for."""
