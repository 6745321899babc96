//! The processor's floating-point mode: how it rounds, and whether subnormal numbers are numbers.
//!
//! Numbers of a step are computed in the default mode, elements of arrays in the kernels' own, where subnormal
//! numbers are zero: moments of dead weights decay into them, and arithmetic on them is many times slower.
//! Callers may have set another one: torch, XLA and whatever is built with fast-math let subnormal numbers be
//! zero, and interval arithmetic rounds up or down. A thread of a pool has the mode of the thread that started it.
//!
//! x86-64 finds out whether a result is subnormal behind the rounding, `AArch64` before it: the one makes the least
//! normal number of what rounds up to it, the other zero. Other processors keep subnormal numbers.
#![expect(unsafe_code, reason = "the register that holds the mode is read and written")]

use std::hint::black_box;
use std::marker::PhantomData;

use register::{DEFAULT, KERNEL, Register, restore, save};

/// Runs `work` in the default mode, in which numbers of a step are computed: see [`in_kernel_mode`].
#[inline]
pub fn in_default_mode<R>(work: impl FnOnce() -> R) -> R {
    in_mode::<false, R>(work)
}

/// Runs `work` in the mode of kernels, and leaves the mode and the exception flags of this thread as they were,
/// also where it panics. Takes a few nanoseconds.
#[inline]
pub fn in_kernel_mode<R>(work: impl FnOnce() -> R) -> R {
    in_mode::<true, R>(work)
}

#[inline]
fn in_mode<const IN_KERNEL: bool, R>(work: impl FnOnce() -> R) -> R {
    let _mode = Mode::set(if IN_KERNEL { KERNEL } else { DEFAULT });
    // Compilers move arithmetic past a change of mode, of which they know nothing: neither what `work` reads
    // is known before, nor what it returns left for later.
    black_box(black_box(work)())
}

/// Holds a mode and restores the earlier one, of the thread that made it.
struct Mode(Register, PhantomData<*const ()>);

impl Mode {
    #[inline]
    fn set(control: register::Control) -> Self {
        Self(save(control), PhantomData)
    }
}

impl Drop for Mode {
    #[inline]
    fn drop(&mut self) {
        restore(self.0);
    }
}

#[cfg(target_arch = "x86_64")]
mod register {
    use std::arch::asm;

    /// Control bits and exception flags, in one.
    pub type Register = u32;
    pub type Control = u32;

    /// Round to nearest, no exceptions, subnormal numbers neither read nor written as zero.
    pub const DEFAULT: Control = 0x1f80;
    /// The same, with subnormal numbers read and written as zero.
    pub const KERNEL: Control = DEFAULT | 0x8040;
    /// The exception flags, which arithmetic sets.
    const FLAGS: Register = 0x3f;

    /// What is in force, which gives way to `control`.
    #[inline]
    pub fn save(control: Control) -> Register {
        let mut before: Register = 0;
        // SAFETY: stores the register's 32 bits in a local variable.
        unsafe {
            asm!("stmxcsr [{}]", in(reg) &raw mut before, options(nostack, preserves_flags));
        }
        if before & !FLAGS != control {
            restore(control);
        }
        before
    }

    #[inline]
    pub fn restore(register: Register) {
        // SAFETY: loads one of the two modes or what was found in force. Rust expects the default one; what it
        // computes itself instead of the processor differs in none of them, as constants are not subnormal. Not
        // said to preserve flags, since the exception flags are among those that are meant.
        unsafe { asm!("ldmxcsr [{}]", in(reg) &raw const register, options(nostack)) };
    }
}

#[cfg(target_arch = "aarch64")]
mod register {
    use std::arch::asm;

    pub type Control = u64;

    /// Control bits, and exception flags.
    #[derive(Clone, Copy)]
    pub struct Register {
        held: u64,
        control: u64,
        flags: u64,
    }

    /// Round to nearest, no exceptions, subnormal numbers neither read nor written as zero.
    pub const DEFAULT: Control = 0;
    /// The same, with subnormal numbers read and written as zero.
    pub const KERNEL: Control = 1 << 24;

    /// What is in force, which gives way to `held`.
    #[inline]
    pub fn save(held: Control) -> Register {
        let (control, flags): (u64, u64);
        // SAFETY: reads two registers.
        unsafe {
            asm!(
                "mrs {}, fpcr", "mrs {}, fpsr", out(reg) control, out(reg) flags,
                options(nostack, preserves_flags)
            );
        }
        if control != held {
            set_control(held);
        }
        Register { held, control, flags }
    }

    #[inline]
    pub fn restore(Register { held, control, flags }: Register) {
        if control != held {
            set_control(control);
        }
        // SAFETY: writes the exception flags that were found, which are flags that `preserves_flags` means.
        unsafe { asm!("msr fpsr, {}", in(reg) flags, options(nostack)) };
    }

    #[inline]
    fn set_control(control: u64) {
        // SAFETY: writes one of the two modes or what was found in force. Rust expects the default one; what it
        // computes itself instead of the processor differs in none of them, as constants are not subnormal. Reads
        // no memory, but is not said so: accesses stay on their side of it.
        unsafe { asm!("msr fpcr, {}", in(reg) control, options(nostack, preserves_flags)) };
    }
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
mod register {
    pub type Register = ();
    pub type Control = ();

    pub const DEFAULT: Control = ();
    pub const KERNEL: Control = ();

    pub fn save((): Control) -> Register {}

    pub fn restore((): Register) {}
}
