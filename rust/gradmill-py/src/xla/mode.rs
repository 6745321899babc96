//! The processor's floating-point mode: kernels need its default, and XLA runs handlers in another one.

/// Holds the default mode, in which subnormal numbers are numbers, and restores the earlier one.
///
/// A thread inherits the mode of the one that starts it; since a call holds the default one before it asks for
/// threads, those that it starts have it for good.
pub struct DefaultMode(Register);

impl DefaultMode {
    /// Sets the default mode, of this thread.
    pub fn set() -> Self {
        let before = read();
        write(DEFAULT);
        Self(before)
    }
}

impl Drop for DefaultMode {
    fn drop(&mut self) {
        write(self.0);
    }
}

#[cfg(target_arch = "x86_64")]
mod register {
    use std::arch::asm;

    pub type Register = u32;

    /// Round to nearest, no exceptions, subnormal numbers neither read nor written as zero.
    pub const DEFAULT: Register = 0x1f80;

    pub fn read() -> Register {
        let mut register: Register = 0;
        // SAFETY: stores the register's 32 bits in a local variable.
        unsafe {
            asm!("stmxcsr [{}]", in(reg) &raw mut register, options(nostack, preserves_flags));
        };
        register
    }

    pub fn write(register: Register) {
        // SAFETY: loads a value that is the default, or that was read from there.
        unsafe {
            asm!("ldmxcsr [{}]", in(reg) &raw const register, options(nostack, preserves_flags));
        }
    }
}

#[cfg(target_arch = "aarch64")]
mod register {
    use std::arch::asm;

    pub type Register = u64;

    /// Round to nearest, no exceptions, subnormal numbers neither read nor written as zero.
    pub const DEFAULT: Register = 0;

    pub fn read() -> Register {
        let register: Register;
        // SAFETY: reads a register.
        unsafe {
            asm!("mrs {}, fpcr", out(reg) register, options(nomem, nostack, preserves_flags))
        };
        register
    }

    pub fn write(register: Register) {
        // SAFETY: writes a value that is the default, or that was read from there.
        unsafe { asm!("msr fpcr, {}", in(reg) register, options(nomem, nostack, preserves_flags)) };
    }
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
mod register {
    pub type Register = ();

    pub const DEFAULT: Register = ();

    pub fn read() -> Register {}

    pub fn write((): Register) {}
}

use register::{DEFAULT, Register, read, write};
