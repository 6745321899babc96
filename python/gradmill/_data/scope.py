"""Names in optax that this package leaves out, each with the reason and where to find it."""

from __future__ import annotations

from gradmill.errors import OutOfScopeError

_LOSSES = (
    *("binary_dice_loss", "convex_kl_divergence", "cosine_distance", "cosine_similarity"),
    *("ctc_loss", "ctc_loss_with_forward_probs", "dice_loss", "generalized_kl_divergence"),
    *("hinge_loss", "huber_loss", "kl_divergence", "kl_divergence_with_log_targets", "l2_loss"),
    *("log_cosh", "losses", "make_fenchel_young_loss", "multiclass_generalized_dice_loss"),
    *("multiclass_hinge_loss", "multiclass_perceptron_loss", "multiclass_sparsemax_loss"),
    *("ntxent", "perceptron_loss", "poly_loss_cross_entropy", "ranking_softmax_loss"),
    *("safe_softmax_cross_entropy", "sigmoid_binary_cross_entropy", "sigmoid_focal_loss"),
    *("smooth_labels", "softmax_cross_entropy", "softmax_cross_entropy_with_integer_labels"),
    *("sparsemax_loss", "squared_error", "triplet_margin_loss"),
)

_REASONS: dict[tuple[str, ...], str] = {
    _LOSSES: "gradmill takes gradients and does not compute losses; use optax.losses or the library"
    " that computes your gradients",
    ("fisher_diag", "hessian_diag", "hvp", "second_order"): "gradmill does not"
    " differentiate functions; use optax.second_order",
    ("Gumbel", "Normal", "make_perturbed_fun", "perturbations"): "gradmill does not"
    " differentiate functions; use optax.perturbations",
    ("monte_carlo",): "gradmill does not differentiate functions; optax 0.2.8 has removed it too",
    ("assignment", "base_hungarian_algorithm", "hungarian_algorithm"): "assignments are not"
    " gradients; use scipy.optimize.linear_sum_assignment or optax.assignment",
    ("micro_grad", "micro_vmap", "microbatch", "microbatching", "reshape_batch_axis"): "gradmill"
    " does not split functions; use optax.microbatching, or MultiSteps for gradients in parts",
    (
        "AccumulationType",
        "Accumulator",
    ): "gradmill does not split functions; use optax.microbatching",
    ("nnls",): "it solves for the parameters; use scipy.optimize.nnls or optax.nnls",
    ("multi_normal",): "it is a distribution; use numpy.random.Generator.multivariate_normal or"
    " optax.multi_normal",
    ("scale_gradient",): "it changes what a JAX program differentiates; use"
    " optax.scale_gradient there",
}

LEFT_OUT = {name: reason for names, reason in _REASONS.items() for name in names}
"""The reason by name."""


def missing(module: str, name: str) -> AttributeError:
    """The error for a name that a module does not have, in one sentence."""
    if name in LEFT_OUT:
        return OutOfScopeError(f"{module}.{name} is out of scope: {LEFT_OUT[name]}")
    return AttributeError(f"module {module!r} has no attribute {name!r}")
