"""Projections to the nearest point of a set, under optax's names: constraints on parameters.

They treat a tree of NumPy or JAX arrays, also inside ``jit``, as one vector, and return a tree of
new arrays of the same dtypes; integers become floats, except between integer bounds. NumPy arrays
are computed in float64 and rounded once.
"""

from gradmill.projections._bounds import projection_box as projection_box
from gradmill.projections._bounds import projection_hypercube as projection_hypercube
from gradmill.projections._bounds import projection_linf_ball as projection_linf_ball
from gradmill.projections._bounds import projection_non_negative as projection_non_negative
from gradmill.projections._planes import projection_halfspace as projection_halfspace
from gradmill.projections._planes import projection_hyperplane as projection_hyperplane
from gradmill.projections._planes import projection_vector as projection_vector
from gradmill.projections._round import projection_l2_ball as projection_l2_ball
from gradmill.projections._round import projection_l2_sphere as projection_l2_sphere
from gradmill.projections._simplex import projection_l1_ball as projection_l1_ball
from gradmill.projections._simplex import projection_l1_sphere as projection_l1_sphere
from gradmill.projections._simplex import projection_simplex as projection_simplex

__all__ = [
    "projection_box",
    "projection_halfspace",
    "projection_hypercube",
    "projection_hyperplane",
    "projection_l1_ball",
    "projection_l1_sphere",
    "projection_l2_ball",
    "projection_l2_sphere",
    "projection_linf_ball",
    "projection_non_negative",
    "projection_simplex",
    "projection_vector",
]
