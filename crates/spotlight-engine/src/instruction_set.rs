//! The instruction sets that kernels are written for.

use std::{fmt, str::FromStr};

/// The variable that forces an instruction set, for tests and comparisons.
pub(crate) const VARIABLE: &str = "SPOTLIGHT_INSTRUCTION_SET";

/// The kernels to use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InstructionSet {
    /// 512-bit vectors (x86-64 with AVX-512F).
    Avx512,
    /// 256-bit vectors with fused multiply-add (x86-64 with AVX2 and FMA).
    Avx2,
    /// Plain Rust, on every machine.
    Portable,
    /// Convolutions by their definition with f64 sums, on one thread: slower by orders of
    /// magnitude. For comparisons in which no decision may hang on the rounding of a sum.
    Exact,
}

impl InstructionSet {
    /// The sets this machine has, the fastest first; the last is always `Portable`. `Exact` is
    /// not listed: it is there only for those who ask for it.
    #[must_use]
    pub fn available() -> Vec<Self> {
        let mut sets = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
            if avx2 && is_x86_feature_detected!("avx512f") {
                sets.push(Self::Avx512);
            }
            if avx2 {
                sets.push(Self::Avx2);
            }
        }
        sets.push(Self::Portable);
        sets
    }
}

impl fmt::Display for InstructionSet {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Avx512 => "avx512",
            Self::Avx2 => "avx2",
            Self::Portable => "portable",
            Self::Exact => "exact",
        })
    }
}

impl FromStr for InstructionSet {
    type Err = UnknownInstructionSet;

    fn from_str(name: &str) -> Result<Self, UnknownInstructionSet> {
        match name {
            "avx512" => Ok(Self::Avx512),
            "avx2" => Ok(Self::Avx2),
            "portable" => Ok(Self::Portable),
            "exact" => Ok(Self::Exact),
            _ => Err(UnknownInstructionSet(name.to_owned())),
        }
    }
}

/// A word that names no instruction set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownInstructionSet(String);

impl fmt::Display for UnknownInstructionSet {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = &self.0;
        write!(
            formatter,
            "unknown instruction set {name:?}: {VARIABLE} must be avx512, avx2, portable or exact"
        )
    }
}

impl std::error::Error for UnknownInstructionSet {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        for set in InstructionSet::available().into_iter().chain([InstructionSet::Exact]) {
            assert_eq!(set.to_string().parse::<InstructionSet>().unwrap(), set);
        }
        let error = "sse9".parse::<InstructionSet>().unwrap_err().to_string();
        assert!(error.contains("\"sse9\"") && error.contains("portable"), "{error}");
    }
}
