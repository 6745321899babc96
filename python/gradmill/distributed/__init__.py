"""Steps whose state is spread over processes: each holds a shard of it, as ZeRO-1 does.

gradmill has no network code of its own: the processes talk by mpi4py or torch.distributed, which
are not imported before they are asked for.
"""

from gradmill.distributed._engines import Engine as Engine
from gradmill.distributed._sharded import Sharded as Sharded

__all__ = ["Engine", "Sharded"]
