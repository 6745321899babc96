"""What optax has in ``optax.experimental``, under the same names; it may change with optax."""

from gradmill.experimental import aggregating as aggregating

__all__ = ["aggregating"]
