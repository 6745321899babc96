"""Transformations and optimizers with names in optax's own namespace."""

from __future__ import annotations

import numpy as np

from tests.case import Case
from tests.cases.arguments import (
    F32,
    LABELS,
    MASK,
    WITH_AXES,
    decay,
    decay_rate,
    has_axes,
    late,
    odd,
    only_kernels,
    rounds,
)

TRANSFORMS = [
    Case("identity", lambda m: m.identity()),
    Case("scale", lambda m: m.scale(-0.3)),
    Case("scale_by_learning_rate", lambda m: m.scale_by_learning_rate(0.3)),
    Case("scale_up", lambda m: m.scale_by_learning_rate(0.3, flip_sign=False)),
    Case(
        "scale_by_learning_rate_schedule",
        lambda m: m.scale_by_learning_rate(m.linear_schedule(0.1, 0.01, 7)),
        single=True,
    ),
    Case(
        "scale_by_schedule",
        lambda m: m.scale_by_schedule(m.cosine_decay_schedule(0.1, 8, alpha=0.1)),
    ),
    Case("clip", lambda m: m.clip(0.5)),
    Case("clip_by_global_norm", lambda m: m.clip_by_global_norm(1.0)),
    Case("clip_inactive", lambda m: m.clip_by_global_norm(1e6)),
    Case("add_decayed_weights", lambda m: m.add_decayed_weights(0.01)),
    Case("decay_mask_tree", lambda m: m.add_decayed_weights(0.01, mask=MASK)),
    Case("decay_mask_function", lambda m: m.add_decayed_weights(0.01, only_kernels)),
    Case("decay_schedule", lambda m: m.add_decayed_weights(decay)),
    Case("scale_by_adam", lambda m: m.scale_by_adam()),
    Case("scale_by_adam_args", lambda m: m.scale_by_adam(0.8, 0.95, 1e-3, 1e-4)),
    Case("scale_by_adam_nesterov", lambda m: m.scale_by_adam(nesterov=True)),
    Case("adam_mu_f32", lambda m: m.scale_by_adam(mu_dtype=np.float32), single=True),
    Case("trace", lambda m: m.trace(0.9)),
    Case("trace_nesterov", lambda m: m.trace(0.8, nesterov=True)),
    Case("trace_f32", lambda m: m.trace(0.9, False, np.float32), single=True),
    Case("adam", lambda m: m.adam(0.1)),
    Case("nadam", lambda m: m.nadam(0.1)),
    Case("adamw", lambda m: m.adamw(0.1, weight_decay=0.01)),
    Case(
        "adamw_schedule_mask",
        lambda m: m.adamw(m.warmup_cosine_decay_schedule(0.0, 0.1, 3, 9, 0.01), mask=only_kernels),
        single=True,
    ),
    Case("sgd", lambda m: m.sgd(0.1)),
    Case("sgd_momentum", lambda m: m.sgd(0.1, momentum=0.9)),
    Case("sgd_nesterov", lambda m: m.sgd(0.1, 0.9, nesterov=True)),
    Case(
        "clip_adamw",
        lambda m: m.chain(m.clip_by_global_norm(1.0), m.adamw(1e-3)),
    ),
    Case(
        "demo",
        lambda m: m.chain(
            m.clip_by_global_norm(1.0),
            m.add_decayed_weights(1e-4),
            m.scale_by_adam(),
            m.scale_by_schedule(m.linear_schedule(-1e-3, 0.0, 20)),
        ),
        single=True,
    ),
    Case(
        "clip_after_adam",
        lambda m: m.chain(m.scale_by_adam(), m.clip_by_global_norm(0.5), m.trace(0.9)),
    ),
    Case(
        "two_norms",
        lambda m: m.chain(m.clip_by_global_norm(2.0), m.clip(0.3), m.clip_by_global_norm(0.5)),
    ),
    Case(
        "nested",
        lambda m: m.chain(m.chain(m.scale(2.0), m.trace(0.5)), m.chain(m.clip(1.0), m.adam(0.1))),
    ),
    Case("set_to_zero", lambda m: m.set_to_zero()),
    Case("scale_by_rms", lambda m: m.scale_by_rms()),
    Case("scale_by_rms_args", lambda m: m.scale_by_rms(0.8, 1e-3, 0.5, False)),
    Case("scale_by_rms_correction", lambda m: m.scale_by_rms(bias_correction=True)),
    Case("scale_by_stddev", lambda m: m.scale_by_stddev(), loose=10),
    Case("stddev_args", lambda m: m.scale_by_stddev(0.8, 1e-3, 0.5, False), loose=10),
    Case(
        "stddev_correction",
        lambda m: m.scale_by_stddev(eps=0.1, bias_correction=True),
        loose=30,
    ),
    Case("ema", lambda m: m.ema(0.9)),
    Case("ema_biased", lambda m: m.ema(0.8, debias=False)),
    Case("ema_f32", lambda m: m.ema(0.9, True, np.float32), single=True),
    Case("clip_by_block_rms", lambda m: m.clip_by_block_rms(0.7)),
    Case("adaptive_grad_clip", lambda m: m.adaptive_grad_clip(0.5)),
    Case("adaptive_grad_clip_eps", lambda m: m.adaptive_grad_clip(0.1, 10.0)),
    Case("centralize", lambda m: m.centralize()),
    Case("normalize", lambda m: m.normalize_by_update_norm()),
    Case(
        "normalize_args",
        lambda m: m.normalize_by_update_norm(3.0, 0.1),
    ),
    Case("scale_by_trust_ratio", lambda m: m.scale_by_trust_ratio()),
    Case("trust_ratio_args", lambda m: m.scale_by_trust_ratio(1.5, 0.3, 0.1)),
    Case("add_noise", lambda m: m.add_noise(0.1, 0.5, 3)),
    Case("keep_params_nonnegative", lambda m: m.keep_params_nonnegative()),
    Case("zero_nans", lambda m: m.zero_nans()),
    Case(
        "zero_nans_adam",
        lambda m: m.chain(m.zero_nans(), m.adam(0.1)),
    ),
    Case("apply_if_finite", lambda m: m.apply_if_finite(m.adam(0.1), 3)),
    Case(
        "apply_if_finite_inside",
        lambda m: m.chain(m.trace(0.5), m.apply_if_finite(m.chain(m.clip(0.3), m.ema(0.9)), 99)),
    ),
    Case("apply_every", lambda m: m.apply_every(3), selects=True),
    Case(
        "conditionally_transform",
        lambda m: m.conditionally_transform(m.adam(0.1), late),
    ),
    Case(
        "conditionally_mask",
        lambda m: m.chain(m.conditionally_mask(m.adam(0.1), odd), m.ema(0.5)),
    ),
    Case(
        "partition",
        lambda m: m.partition({"a": m.adamw(0.1), "b": m.sgd(0.2, momentum=0.9)}, LABELS),
    ),
    Case(
        "partition_norms",
        lambda m: m.partition(
            {"b": m.chain(m.trace(0.9), m.clip_by_global_norm(0.5)), "a": m.centralize()}, LABELS
        ),
    ),
    Case("masked", lambda m: m.masked(m.adam(0.1), MASK)),
    Case(
        "masked_function",
        lambda m: m.chain(m.masked(m.clip_by_global_norm(0.5), only_kernels), m.trace(0.9)),
    ),
    Case("masked_nans", lambda m: m.masked(m.zero_nans(), MASK)),
    Case("freeze", lambda m: m.chain(m.trace(0.9), m.freeze(MASK))),
    Case(
        "selective_transform",
        lambda m: m.selective_transform(m.adam(0.1), freeze_mask=MASK),
    ),
    Case(
        "multi_steps",
        lambda m: m.MultiSteps(m.adam(0.1), 3, **F32).gradient_transformation(),
        single=True,
        selects=True,
    ),
    Case(
        "multi_steps_sum",
        lambda m: m.MultiSteps(m.sgd(0.1, 0.9), 2, False, **F32).gradient_transformation(),
        single=True,
        selects=True,
    ),
    Case(
        "multi_steps_schedule",
        lambda m: m.chain(
            m.clip(0.5), m.MultiSteps(m.adam(0.1), rounds, **F32).gradient_transformation()
        ),
        single=True,
        selects=True,
    ),
    Case(
        "multi_steps_skip",
        lambda m: m.MultiSteps(
            m.adam(0.1), 2, should_skip_update_fn=m.skip_not_finite, **F32
        ).gradient_transformation(),
        single=True,
    ),
    Case(
        "multi_steps_units",
        lambda m: m.MultiSteps(
            m.chain(m.clip_by_block_rms(0.5), m.trace(0.9), m.clip_by_block_rms(1.0)), 2, **F32
        ).gradient_transformation(),
        single=True,
        selects=True,
    ),
    Case(
        "multi_steps_in_finite",
        lambda m: m.apply_if_finite(
            m.MultiSteps(m.trace(0.9), 2, **F32).gradient_transformation(), 99
        ),
        single=True,
    ),
    Case(
        "inject_hyperparams",
        lambda m: m.inject_hyperparams(m.adamw, "mask")(
            m.cosine_decay_schedule(0.1, 8), weight_decay=0.1, mask=only_kernels
        ),
    ),
    Case(
        "named_chain",
        lambda m: m.named_chain(("clip", m.clip(0.5)), ("adam", m.adam(0.1))),
    ),
    Case("flatten", lambda m: m.flatten(m.adam(0.1))),
    Case("flatten_rms", lambda m: m.flatten(m.clip_by_block_rms(0.5))),
    Case("rmsprop", lambda m: m.rmsprop(0.1)),
    Case(
        "rmsprop_centered",
        lambda m: m.rmsprop(0.1, centered=True, momentum=0.9, nesterov=True),
        loose=10,
    ),
    Case("lamb", lambda m: m.lamb(0.1, weight_decay=0.01)),
    Case("lars", lambda m: m.lars(0.1, 0.01)),
    Case(
        "lars_masks",
        lambda m: m.lars(0.1, 0.01, MASK, trust_ratio_mask=only_kernels, nesterov=True),
    ),
    Case("noisy_sgd", lambda m: m.noisy_sgd(0.1, key=7)),
    Case(
        "units_in_a_chain",
        lambda m: m.chain(
            m.centralize(),
            m.scale_by_adam(),
            m.clip_by_block_rms(0.5),
            m.clip_by_global_norm(1.0),
            m.adaptive_grad_clip(0.3),
            m.scale(-0.1),
        ),
    ),
    Case(
        "specification_robust",
        lambda m: m.chain(
            m.clip_by_global_norm(1.0),
            m.apply_if_finite(
                m.chain(m.centralize(), m.scale_by_adam(), m.add_decayed_weights(1e-4)), 2**31 - 1
            ),
            m.scale_by_schedule(m.cosine_decay_schedule(0.001, 1000)),
        ),
    ),
    Case("scale_by_lion", lambda m: m.scale_by_lion()),
    Case(
        "scale_by_lion_smooth", lambda m: m.scale_by_lion(0.8, 0.95, mode="smooth", smooth_beta=2.0)
    ),
    Case(
        "scale_by_lion_refined",
        lambda m: m.scale_by_lion(0.5, 0.95, np.float32, mode="refined"),
        single=True,
    ),
    Case("lion", lambda m: m.lion(0.1, mask=only_kernels)),
    Case("scale_by_amsgrad", lambda m: m.scale_by_amsgrad()),
    Case(
        "scale_by_amsgrad_args",
        lambda m: m.scale_by_amsgrad(0.8, 0.5, 1e-3, 1e-4, None, False, False),
    ),
    Case("amsgrad", lambda m: m.amsgrad(0.1, b2=0.9)),
    Case("scale_by_adadelta", lambda m: m.scale_by_adadelta()),
    Case("scale_by_adadelta_args", lambda m: m.scale_by_adadelta(0.7, 1e-3)),
    Case("adadelta", lambda m: m.adadelta(1.0, weight_decay=0.01)),
    Case("adadelta_uphill", lambda m: m.adadelta(weight_decay_mask=only_kernels)),
    Case("scale_by_rprop", lambda m: m.scale_by_rprop(0.1)),
    Case("scale_by_rprop_args", lambda m: m.scale_by_rprop(0.1, 0.3, 2.0, 0.05, 0.3)),
    Case("rprop", lambda m: m.rprop(0.1)),
    Case("scale_by_novograd", lambda m: m.scale_by_novograd()),
    Case(
        "scale_by_novograd_args",
        lambda m: m.scale_by_novograd(0.8, 0.5, 1e-3, 1e-4, 0.01, np.float32),
        single=True,
    ),
    Case("novograd", lambda m: m.novograd(0.1)),
    Case(
        "scale_by_param_block_norm",
        lambda m: m.chain(m.clip(1.0), m.scale_by_param_block_norm()),
    ),
    Case(
        "scale_by_param_block_rms",
        lambda m: m.chain(m.clip(1.0), m.scale_by_param_block_rms(0.9)),
    ),
    Case(
        "scale_by_factored_rms",
        lambda m: m.scale_by_factored_rms(min_dim_size_to_factor=2),
        single=True,
        early=True,
    ),
    Case(
        "scale_by_factored_rms_whole",
        lambda m: m.scale_by_factored_rms(False, 0.5),
        single=True,
        early=True,
    ),
    Case(
        "scale_by_factored_rms_args",
        lambda m: m.scale_by_factored_rms(True, 0.5, 0, 3, 1e-3, decay_rate),
    ),
    Case("adafactor", lambda m: m.adafactor(0.1), single=True, early=True),
    Case(
        "adafactor_all",
        lambda m: m.adafactor(
            m.linear_schedule(0.1, 0.01, 7),
            2,
            momentum=0.9,
            weight_decay_rate=0.01,
            weight_decay_mask=only_kernels,
        ),
        single=True,
        early=True,
    ),
    Case(
        "adafactor_plain",
        lambda m: m.adafactor(multiply_by_parameter_scale=False, clipping_threshold=None),
        single=True,
        early=True,
    ),
    Case("scale_by_adan", lambda m: m.scale_by_adan()),
    Case("scale_by_adan_args", lambda m: m.scale_by_adan(0.9, 0.8, 0.95, 1e-3, 1e-4)),
    Case("adan", lambda m: m.adan(0.1, weight_decay=0.01)),
    Case("scale_by_belief", lambda m: m.scale_by_belief()),
    Case("scale_by_belief_args", lambda m: m.scale_by_belief(0.8, 0.95, 1e-3, 1e-4)),
    Case("scale_by_belief_nesterov", lambda m: m.scale_by_belief(nesterov=True)),
    Case("adabelief", lambda m: m.adabelief(0.1)),
    Case("scale_by_yogi", lambda m: m.scale_by_yogi()),
    Case("scale_by_yogi_args", lambda m: m.scale_by_yogi(0.8, 0.5, 1e-2, 1e-4, 0.1)),
    Case("yogi", lambda m: m.yogi(0.1)),
    Case("scale_by_radam", lambda m: m.scale_by_radam(), loose=500),
    Case("scale_by_radam_args", lambda m: m.scale_by_radam(0.8, 0.9, 1e-3, 1e-4, 4.5)),
    Case("scale_by_radam_nesterov", lambda m: m.scale_by_radam(b2=0.9, nesterov=True)),
    Case("radam", lambda m: m.radam(0.1, b2=0.9)),
    Case("scale_by_sign", lambda m: m.scale_by_sign()),
    Case("sign_sgd", lambda m: m.sign_sgd(0.1)),
    Case("signum", lambda m: m.signum(0.1)),
    Case("scale_by_sm3", lambda m: m.chain(m.masked(m.scale_by_sm3(), WITH_AXES), m.scale(0.5))),
    Case(
        "scale_by_sm3_args",
        lambda m: m.chain(m.masked(m.scale_by_sm3(0.8, 0.9, 1e-3), WITH_AXES), m.scale(0.5)),
    ),
    Case("sm3", lambda m: m.chain(m.scale(0.5), m.masked(m.sm3(0.1), WITH_AXES), m.scale(0.5))),
    Case("scale_by_rss", lambda m: m.scale_by_rss()),
    Case("scale_by_rss_args", lambda m: m.scale_by_rss(0.0, 1e-3)),
    Case("adagrad", lambda m: m.adagrad(0.1)),
    Case("scale_by_adamax", lambda m: m.scale_by_adamax()),
    Case("scale_by_adamax_args", lambda m: m.scale_by_adamax(0.8, 0.5, 1e-3)),
    Case("adamax", lambda m: m.adamax(0.1)),
    Case("adamaxw", lambda m: m.adamaxw(0.1, b2=0.9, weight_decay=0.01, mask=only_kernels)),
    Case("nadamw", lambda m: m.nadamw(0.1, weight_decay=0.01)),
    Case("fromage", lambda m: m.fromage(0.1)),
    Case("fromage_schedule", lambda m: m.fromage(m.cosine_decay_schedule(0.1, 8), 0.5)),
    Case("scale_by_optimistic_gradient", lambda m: m.scale_by_optimistic_gradient()),
    Case("scale_by_optimistic_gradient_args", lambda m: m.scale_by_optimistic_gradient(0.5, -2.0)),
    Case("optimistic_gradient_descent", lambda m: m.optimistic_gradient_descent(0.1)),
    Case("optimistic_adam", lambda m: m.optimistic_adam(0.1, 0.2, b2=0.9)),
    Case("optimistic_adam_v2", lambda m: m.optimistic_adam_v2(0.1, alpha=0.5, b2=0.9)),
    Case(
        "scale_by_distance_over_gradients",
        lambda m: m.chain(m.masked(m.scale_by_distance_over_gradients(), has_axes), m.scale(-1.0)),
        single=True,
    ),
    Case(
        "scale_by_distance_over_gradients_args",
        lambda m: m.masked(m.scale_by_distance_over_gradients(0.1, 1e-3, None, 2.0), WITH_AXES),
    ),
    Case("snapshot", lambda m: m.chain(m.clip(0.5), m.snapshot("norm", m.tree.norm), m.ema(0.9))),
]
