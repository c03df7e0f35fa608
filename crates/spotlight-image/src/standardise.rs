//! Whole-stack standardisation.
