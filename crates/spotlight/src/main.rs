//! The `spotlight` program.

fn main() {}
