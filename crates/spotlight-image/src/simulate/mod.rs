//! Paired stacks with known truth, from a seed.
