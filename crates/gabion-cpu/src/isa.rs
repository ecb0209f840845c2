//! Which instruction set the kernels use: found once at load, forced by `GABION_ISA`.
//!
//! The kernels themselves live in `kernels`; nothing here is specific to one of them.

use std::fmt;
use std::str::FromStr;

/// An instruction set that every kernel is built for.
///
/// [`Isa::Avx512`] and [`Isa::Avx2`] have fused multiply-add and give the same bits as each
/// other. [`Isa::Portable`] multiplies and adds in two roundings where the target has no fused
/// instruction at compile time, so it has bits of its own there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Isa {
    /// Plain Rust over 128-bit vectors of the build target.
    Portable,
    /// AVX2 with FMA and F16C: eight `f32` lanes.
    Avx2,
    /// AVX-512 F, BW, DQ, VL: sixteen `f32` lanes.
    Avx512,
}

/// Why an instruction set cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IsaError {
    /// The name is none of the known ones.
    #[error("unknown instruction set `{0}`: expected `avx512`, `avx2` or `portable`")]
    Unknown(String),
    /// The machine lacks it.
    #[error(
        "this machine does not have the instruction set `{wanted}`; `{best}` is the best that it has"
    )]
    Unavailable {
        /// What was asked for.
        wanted: Isa,
        /// What could be had.
        best: Isa,
    },
    /// `GABION_ISA` is set to something that is not text.
    #[error("GABION_ISA is not valid UTF-8: expected `avx512`, `avx2` or `portable`")]
    NotText,
}

impl Isa {
    /// All of them, slowest first.
    pub const ALL: [Isa; 3] = [Isa::Portable, Isa::Avx2, Isa::Avx512];

    /// The name that `GABION_ISA` takes.
    pub const fn name(self) -> &'static str {
        match self {
            Isa::Portable => "portable",
            Isa::Avx2 => "avx2",
            Isa::Avx512 => "avx512",
        }
    }

    /// Whether this machine can run it.
    pub fn is_available(self) -> bool {
        match self {
            Isa::Portable => true,
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => {
                is_x86_feature_detected!("avx2")
                    && is_x86_feature_detected!("fma")
                    && is_x86_feature_detected!("f16c")
            }
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => {
                Isa::Avx2.is_available()
                    && is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512vl")
            }
            #[cfg(not(target_arch = "x86_64"))]
            Isa::Avx2 | Isa::Avx512 => false,
        }
    }

    /// The fastest that this machine can run.
    pub fn best() -> Isa {
        if Isa::Avx512.is_available() {
            Isa::Avx512
        } else if Isa::Avx2.is_available() {
            Isa::Avx2
        } else {
            Isa::Portable
        }
    }

    /// All that this machine can run, slowest first.
    pub fn available() -> impl Iterator<Item = Isa> {
        Isa::ALL.into_iter().filter(|isa| isa.is_available())
    }

    /// The one to use: what the environment variable `GABION_ISA` names, else the fastest.
    ///
    /// # Errors
    /// [`IsaError`] if the variable names an unknown set, or one that this machine lacks.
    pub fn detect() -> Result<Isa, IsaError> {
        match std::env::var("GABION_ISA") {
            Ok(name) => Isa::checked(&name),
            Err(std::env::VarError::NotPresent) => Ok(Isa::best()),
            Err(std::env::VarError::NotUnicode(_)) => Err(IsaError::NotText),
        }
    }

    /// The set called `name`, if this machine has it. An empty name means the fastest.
    ///
    /// # Errors
    /// [`IsaError`] if `name` is unknown, or this machine lacks it.
    pub fn checked(name: &str) -> Result<Isa, IsaError> {
        if name.is_empty() {
            return Ok(Isa::best());
        }
        let wanted: Isa = name.parse()?;
        if wanted.is_available() {
            Ok(wanted)
        } else {
            Err(IsaError::Unavailable {
                wanted,
                best: Isa::best(),
            })
        }
    }
}

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Isa {
    type Err = IsaError;

    fn from_str(name: &str) -> Result<Isa, IsaError> {
        Isa::ALL
            .into_iter()
            .find(|isa| isa.name().eq_ignore_ascii_case(name))
            .ok_or_else(|| IsaError::Unknown(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip_and_unknown_names_are_told() {
        for isa in Isa::ALL {
            assert_eq!(isa.name().parse(), Ok(isa));
        }
        let error = Isa::checked("sse9").unwrap_err();
        assert_eq!(error, IsaError::Unknown("sse9".to_owned()));
        assert!(error.to_string().contains("`sse9`"));
        assert!(error.to_string().contains("portable"));
    }

    #[test]
    fn the_best_is_available_and_an_absent_one_is_refused() {
        assert!(Isa::best().is_available());
        assert_eq!(Isa::available().last(), Some(Isa::best()));
        for isa in Isa::ALL {
            match Isa::checked(isa.name()) {
                Ok(found) => assert!(found == isa && isa.is_available()),
                Err(error) => {
                    assert!(!isa.is_available());
                    assert!(error.to_string().contains(isa.name()));
                }
            }
        }
    }
}
