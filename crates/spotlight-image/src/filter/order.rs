//! Floats as whole numbers of the same order, to count, sort and compare them by.

/// Whole numbers in the order of the floats (IEEE 754 total order).
pub(crate) fn ordered(value: f32) -> u32 {
    let bits = value.to_bits();
    if bits >> 31 == 1 { !bits } else { bits | 1 << 31 }
}

/// The float that [`ordered`] gives this number for.
pub(crate) fn from_ordered(number: u32) -> f32 {
    f32::from_bits(if number >> 31 == 1 { number & !(1 << 31) } else { !number })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_is_kept_and_undone() {
        let floats = [f32::NEG_INFINITY, -2.5, -1e-40, -0.0, 0.0, 1e-40, 1.0, f32::INFINITY];
        assert!(floats.map(ordered).is_sorted());
        assert_eq!(
            floats.map(ordered).map(from_ordered).map(f32::to_bits),
            floats.map(f32::to_bits)
        );
    }
}
