"""What optax has in ``optax.contrib``: algorithms of papers, under the same names."""

from gradmill.contrib._ademamix import ScaleByAdemamixState as ScaleByAdemamixState
from gradmill.contrib._ademamix import ademamix as ademamix
from gradmill.contrib._ademamix import scale_by_ademamix as scale_by_ademamix
from gradmill.contrib._adopt import adopt as adopt
from gradmill.contrib._adopt import scale_by_adopt as scale_by_adopt
