//! The transforms of F(4, 3) along one axis, for the interpolation points 0, ±1, ±2 and ∞.
//!
//! ```text
//!      ⎡4  0 -5  0 1 0⎤       ⎡ 1/4    0    0 ⎤
//!      ⎢0 -4 -4  1 1 0⎥       ⎢-1/6 -1/6 -1/6 ⎥        ⎡1 1  1 1  1 0⎤
//! Bᵀ = ⎢0  4 -4 -1 1 0⎥   G = ⎢-1/6  1/6 -1/6 ⎥   Aᵀ = ⎢0 1 -1 2 -2 0⎥
//!      ⎢0 -2 -1  2 1 0⎥       ⎢1/24 1/12  1/6 ⎥        ⎢0 1  1 4  4 0⎥
//!      ⎢0  2 -1 -2 1 0⎥       ⎢1/24 -1/12 1/6 ⎥        ⎣0 1 -1 8 -8 1⎦
//!      ⎣0  4  0 -5 0 1⎦       ⎣  0    0    1  ⎦
//! ```

use crate::kernel::vector::Vector;

/// `Bᵀ d`: inputs of a tile to points.
#[inline(always)]
pub(super) unsafe fn input<V: Vector>(d: [V; 6]) -> [V; 6] {
    // SAFETY: the caller vouches for the set.
    unsafe {
        let (four, minus_four) = (V::splat(4.0), V::splat(-4.0));
        let (minus_five, two, minus_two) = (V::splat(-5.0), V::splat(2.0), V::splat(-2.0));
        let even = d[2].mul_add(minus_four, d[4]);
        let odd = d[1].mul_add(minus_four, d[3]);
        let (near, far) = (d[4].sub(d[2]), d[3].sub(d[1]));
        [
            d[0].mul_add(four, d[2].mul_add(minus_five, d[4])),
            even.add(odd),
            even.sub(odd),
            far.mul_add(two, near),
            far.mul_add(minus_two, near),
            d[1].mul_add(four, d[3].mul_add(minus_five, d[5])),
        ]
    }
}

/// `Aᵀ m`: points to outputs of a tile.
#[inline(always)]
pub(super) unsafe fn output<V: Vector>(m: [V; 6]) -> [V; 4] {
    // SAFETY: the caller vouches for the set.
    unsafe {
        let (two, four, eight) = (V::splat(2.0), V::splat(4.0), V::splat(8.0));
        let (sum1, difference1) = (m[1].add(m[2]), m[1].sub(m[2]));
        let (sum2, difference2) = (m[3].add(m[4]), m[3].sub(m[4]));
        [
            m[0].add(sum1).add(sum2),
            difference2.mul_add(two, difference1),
            sum2.mul_add(four, sum1),
            difference2.mul_add(eight, difference1).add(m[5]),
        ]
    }
}

/// `A y`: outputs of a tile to points, the transpose of [`output`].
#[inline(always)]
pub(super) unsafe fn gradient<V: Vector>(y: [V; 4]) -> [V; 6] {
    // SAFETY: the caller vouches for the set.
    unsafe {
        let (four, zero) = (V::splat(4.0), V::splat(0.0));
        let (even, odd) = (y[0].add(y[2]), y[1].add(y[3]));
        let far_even = y[2].mul_add(four, y[0]);
        let far_odd = y[3].mul_add(four, y[1]).mul_add(V::splat(2.0), zero);
        [y[0], even.add(odd), even.sub(odd), far_even.add(far_odd), far_even.sub(far_odd), y[3]]
    }
}

/// `G g`: weights to points.
#[inline(always)]
pub(super) unsafe fn weights<V: Vector>(g: [V; 3]) -> [V; 6] {
    // SAFETY: the caller vouches for the set.
    unsafe {
        let zero = V::splat(0.0);
        let outer = g[0].add(g[2]).mul_add(V::splat(-1.0 / 6.0), zero);
        let inner = g[1].mul_add(V::splat(1.0 / 6.0), zero);
        let far_outer = g[0].mul_add(V::splat(1.0 / 24.0), g[2].mul_add(V::splat(1.0 / 6.0), zero));
        let far_inner = g[1].mul_add(V::splat(1.0 / 12.0), zero);
        [
            g[0].mul_add(V::splat(0.25), zero),
            outer.sub(inner),
            outer.add(inner),
            far_outer.add(far_inner),
            far_outer.sub(far_inner),
            g[2],
        ]
    }
}

/// `Gᵀ u`: points to weights, the transpose of [`weights`].
#[inline(always)]
pub(super) unsafe fn weights_gradient<V: Vector>(u: [V; 6]) -> [V; 3] {
    // SAFETY: the caller vouches for the set.
    unsafe {
        let zero = V::splat(0.0);
        let (sum1, difference1) = (u[1].add(u[2]), u[2].sub(u[1]));
        let (sum2, difference2) = (u[3].add(u[4]), u[3].sub(u[4]));
        let near = sum1.mul_add(V::splat(-1.0 / 6.0), zero);
        [
            u[0].mul_add(V::splat(0.25), sum2.mul_add(V::splat(1.0 / 24.0), near)),
            difference1
                .mul_add(V::splat(1.0 / 6.0), difference2.mul_add(V::splat(1.0 / 12.0), zero)),
            sum2.mul_add(V::splat(1.0 / 6.0), near).add(u[5]),
        ]
    }
}
