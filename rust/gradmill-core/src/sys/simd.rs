//! Which instruction set the kernels run on. Every tier gives the same bits; only speed differs.

use std::str::FromStr;
use std::sync::OnceLock;

use pulp::NullaryFnOnce;

/// An instruction set that kernels are compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tier {
    /// The target's baseline: SSE2 on x86-64, NEON on AArch64.
    Scalar,
    /// 256-bit vectors.
    Avx2,
    /// 512-bit vectors.
    Avx512,
}

impl Tier {
    /// All tiers, slowest first.
    pub const ALL: [Self; 3] = [Self::Scalar, Self::Avx2, Self::Avx512];

    /// The name used by `GRADMILL_SIMD`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
        }
    }

    /// Whether this machine can run the tier.
    #[must_use]
    pub fn available(self) -> bool {
        match self {
            Self::Scalar => true,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => pulp::x86::V3::try_new().is_some(),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => pulp::x86::V4::try_new().is_some(),
            #[cfg(not(target_arch = "x86_64"))]
            _ => false,
        }
    }

    /// The fastest tier this machine has.
    #[must_use]
    pub fn best() -> Self {
        static BEST: OnceLock<Tier> = OnceLock::new();
        *BEST.get_or_init(|| {
            Self::ALL.into_iter().rfind(|tier| tier.available()).unwrap_or(Self::Scalar)
        })
    }

    /// Whether chains run as loops of their own, where they are frequent enough: not on the baseline of x86-64,
    /// which few processors are confined to.
    #[must_use]
    pub(crate) fn is_wide(self) -> bool {
        self != Self::Scalar || cfg!(not(target_arch = "x86_64"))
    }

    /// Runs `kernel` compiled for this tier, which is wide.
    #[inline]
    pub(crate) fn run_wide<K: NullaryFnOnce>(self, kernel: K) -> K::Output {
        #[cfg(target_arch = "x86_64")]
        {
            if self == Self::Avx512
                && let Some(token) = pulp::x86::V4::try_new()
            {
                return token.vectorize(kernel);
            }
            match pulp::x86::V3::try_new() {
                Some(token) => token.vectorize(kernel),
                None => unreachable!("a wide tier is available"),
            }
        }
        #[cfg(not(target_arch = "x86_64"))]
        kernel.call()
    }

    /// Runs `kernel` compiled for this tier, or for the baseline where the machine lacks it.
    #[inline]
    pub fn run<K: NullaryFnOnce>(self, kernel: K) -> K::Output {
        #[cfg(target_arch = "x86_64")]
        match self {
            Self::Scalar => {}
            Self::Avx2 => {
                if let Some(token) = pulp::x86::V3::try_new() {
                    return token.vectorize(kernel);
                }
            }
            Self::Avx512 => {
                if let Some(token) = pulp::x86::V4::try_new() {
                    return token.vectorize(kernel);
                }
            }
        }
        kernel.call()
    }
}

impl FromStr for Tier {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let tier = Self::ALL
            .into_iter()
            .find(|tier| tier.name() == name)
            .ok_or_else(|| format!("{name:?} is none of scalar, avx2, avx512"))?;
        if tier.available() { Ok(tier) } else { Err(format!("this processor has no {name}")) }
    }
}
