//! How much rounding the convolutions may do for speed.

use std::{fmt, str::FromStr};

/// The variable that chooses a precision, for tests and comparisons.
pub(crate) const VARIABLE: &str = "SPOTLIGHT_PRECISION";

/// Which algorithms the 3×3×3 convolutions may use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Precision {
    /// Winograd's algorithm where it is faster: rounding errors about four times those of the
    /// direct sum, still a hundred times below those of 16-bit numbers.
    #[default]
    Fast,
    /// Direct sums only.
    Precise,
}

impl fmt::Display for Precision {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Fast => "fast",
            Self::Precise => "precise",
        })
    }
}

impl FromStr for Precision {
    type Err = UnknownPrecision;

    fn from_str(name: &str) -> Result<Self, UnknownPrecision> {
        match name {
            "fast" => Ok(Self::Fast),
            "precise" => Ok(Self::Precise),
            _ => Err(UnknownPrecision(name.to_owned())),
        }
    }
}

/// A word that names no precision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownPrecision(String);

impl fmt::Display for UnknownPrecision {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = &self.0;
        write!(formatter, "unknown precision {name:?}: {VARIABLE} must be fast or precise")
    }
}

impl std::error::Error for UnknownPrecision {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        for precision in [Precision::Fast, Precision::Precise] {
            assert_eq!(precision.to_string().parse::<Precision>().unwrap(), precision);
        }
        let error = "bf16".parse::<Precision>().unwrap_err().to_string();
        assert!(error.contains("\"bf16\"") && error.contains("precise"), "{error}");
    }
}
