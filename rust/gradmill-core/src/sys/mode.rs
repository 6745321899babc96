//! The processor's floating-point mode: how it rounds, and whether subnormal numbers are numbers.
//!
//! Kernels are defined in the default mode. Callers may have set another one: torch, XLA and whatever is
//! built with fast-math let subnormal numbers be zero, and interval arithmetic rounds up or down. A thread
//! of a pool has the mode of the thread that started it.
#![expect(unsafe_code, reason = "the register that holds the mode is read and written")]

use std::hint::black_box;
use std::marker::PhantomData;

use register::{Register, restore, save};

/// Runs `work` in the default mode, and leaves the mode and the exception flags of this thread as they were,
/// also where it panics. Takes a few nanoseconds.
#[inline]
pub fn in_default_mode<R>(work: impl FnOnce() -> R) -> R {
    let _mode = DefaultMode::set();
    // Compilers move arithmetic past a change of mode, of which they know nothing: neither what `work` reads
    // is known before, nor what it returns left for later.
    black_box(black_box(work)())
}

/// Holds the default mode and restores the earlier one, of the thread that made it.
struct DefaultMode(Register, PhantomData<*const ()>);

impl DefaultMode {
    #[inline]
    fn set() -> Self {
        Self(save(), PhantomData)
    }
}

impl Drop for DefaultMode {
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

    /// Round to nearest, no exceptions, subnormal numbers neither read nor written as zero.
    const DEFAULT: Register = 0x1f80;
    /// The exception flags, which arithmetic sets.
    const FLAGS: Register = 0x3f;

    /// What is in force, which gives way to the default.
    #[inline]
    pub fn save() -> Register {
        let mut before: Register = 0;
        // SAFETY: stores the register's 32 bits in a local variable.
        unsafe {
            asm!("stmxcsr [{}]", in(reg) &raw mut before, options(nostack, preserves_flags));
        }
        if before & !FLAGS != DEFAULT {
            restore(DEFAULT);
        }
        before
    }

    #[inline]
    pub fn restore(register: Register) {
        // SAFETY: loads the default, which is what Rust expects, or what was found in force. Not said to
        // preserve flags, since the exception flags are among those that are meant.
        unsafe { asm!("ldmxcsr [{}]", in(reg) &raw const register, options(nostack)) };
    }
}

#[cfg(target_arch = "aarch64")]
mod register {
    use std::arch::asm;

    /// Control bits, and exception flags.
    #[derive(Clone, Copy)]
    pub struct Register {
        control: u64,
        flags: u64,
    }

    /// Round to nearest, no exceptions, subnormal numbers neither read nor written as zero.
    const DEFAULT: u64 = 0;

    /// What is in force, which gives way to the default.
    #[inline]
    pub fn save() -> Register {
        let (control, flags): (u64, u64);
        // SAFETY: reads two registers.
        unsafe {
            asm!(
                "mrs {}, fpcr", "mrs {}, fpsr", out(reg) control, out(reg) flags,
                options(nostack, preserves_flags)
            );
        }
        if control != DEFAULT {
            set_control(DEFAULT);
        }
        Register { control, flags }
    }

    #[inline]
    pub fn restore(Register { control, flags }: Register) {
        if control != DEFAULT {
            set_control(control);
        }
        // SAFETY: writes the exception flags that were found, which are flags that `preserves_flags` means.
        unsafe { asm!("msr fpsr, {}", in(reg) flags, options(nostack)) };
    }

    #[inline]
    fn set_control(control: u64) {
        // SAFETY: writes the default, which is what Rust expects, or what was found in force. Reads no memory,
        // but is not said so: accesses stay on their side of it.
        unsafe { asm!("msr fpcr, {}", in(reg) control, options(nostack, preserves_flags)) };
    }
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
mod register {
    pub type Register = ();

    pub fn save() -> Register {}

    pub fn restore((): Register) {}
}
