use super::op::{Beside, FromScalars, Meta, Op, Visitor, count, decay, epsilon, flag};
use crate::number::float::Float;
use crate::number::scalars::{beside_root, correction_if, factors_of_root};

pub const ADAM: Meta = Meta {
    name: "scale_by_adam",
    scalars: &[
        decay("b1"),
        decay("b2"),
        epsilon("eps"),
        epsilon("eps_root"),
        flag("hat"),
        flag("bias_correction"),
        count("count"),
    ],
    slots: &["mu", "nu"],
    ..Meta::PLAIN
};
pub const ADAM_NESTEROV: Meta = Meta { name: "scale_by_adam_nesterov", ..ADAM };

/// `m' = b1 m + (1 - b1) u`, `v' = b2 v + (1 - b2) u²`; emits `m̂ / (√(v̂ + eps_root) + eps)`, without `eps_root`
/// unless `ROOT`.
///
/// The corrections are `1 - b^t`. Dividing by them is a product with the reciprocal, formed in f64: one
/// rounding of a constant either way, and one division less for each moment.
#[derive(Clone, Copy, Debug)]
pub struct ScaleByAdam<T, const NESTEROV: bool, const ROOT: bool = true> {
    b1: T,
    rest1: T,
    b2: T,
    rest2: T,
    eps: T,
    eps_root: T,
    mu_factor: T,
    update_factor: T,
    nu_factor: T,
}

impl<T: Float, const NESTEROV: bool> FromScalars<7> for ScaleByAdam<T, NESTEROV> {
    fn from_scalars(&[b1, b2, eps, eps_root, hat, corrects, count]: &[f64; 7]) -> Self {
        let rest1 = 1.0 - b1;
        let correction1 = correction_if(corrects, b1, count);
        let mu_factor = if NESTEROV {
            b1 / correction_if(corrects, b1, count + 1.0)
        } else {
            1.0 / correction1
        };
        let (nu_factor, factor) = factors_of_root(hat, correction_if(corrects, b2, count));
        Self {
            b1: T::from_f64(b1),
            rest1: T::from_f64(rest1),
            b2: T::from_f64(b2),
            rest2: T::from_f64(1.0 - b2),
            eps: beside_root(eps),
            eps_root: T::from_f64(eps_root),
            mu_factor: T::from_f64(factor * mu_factor),
            update_factor: T::from_f64(factor * (rest1 / correction1)),
            nu_factor: T::from_f64(nu_factor),
        }
    }
}

impl<T: Float, const NESTEROV: bool, const ROOT: bool> ScaleByAdam<T, NESTEROV, ROOT> {
    /// The same with one addition less, where `eps_root` is zero as in most chains.
    fn without_root(self) -> Option<ScaleByAdam<T, NESTEROV, false>> {
        let Self { b1, rest1, b2, rest2, eps, eps_root, mu_factor, update_factor, nu_factor } =
            self;
        (eps_root == T::ZERO).then_some(ScaleByAdam {
            b1,
            rest1,
            b2,
            rest2,
            eps,
            eps_root,
            mu_factor,
            update_factor,
            nu_factor,
        })
    }
}

impl<T: Float, const NESTEROV: bool, const ROOT: bool> Op<T, 2> for ScaleByAdam<T, NESTEROV, ROOT> {
    const SQUARES: u32 = 0b10;

    #[inline(always)]
    fn element(&self, update: T, _: Beside<T>, [mu, nu]: [T; 2]) -> (T, [T; 2]) {
        let mu = self.b1 * mu + self.rest1 * update;
        let nu = self.b2 * nu + self.rest2 * (update * update);
        let mut mu_hat = mu * self.mu_factor;
        if NESTEROV {
            mu_hat = mu_hat + update * self.update_factor;
        }
        let mut nu_hat = nu * self.nu_factor;
        if ROOT {
            nu_hat = nu_hat + self.eps_root;
        }
        (mu_hat / (nu_hat.sqrt() + self.eps), [mu, nu])
    }

    #[inline(always)]
    fn in_registers<V: Visitor<T>>(&self, visitor: V) -> Option<V::Output> {
        self.without_root().map(|op| visitor.visit(&op))
    }
}
