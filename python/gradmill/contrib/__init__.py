"""What optax has in ``optax.contrib``: algorithms of papers, under the same names."""
