"""Optimizers for several processes, each of which holds a shard of the state, as in ZeRO-1.

gradmill has no network code of its own: processes communicate through mpi4py or torch.distributed,
which are imported only when used.
"""

from gradmill.distributed._engines import Engine as Engine
from gradmill.distributed._sharded import Sharded as Sharded

__all__ = ["Engine", "Sharded"]
