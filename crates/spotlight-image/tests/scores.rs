//! Properties of the scores: of the foreground variants, and of threads.

#![allow(clippy::unwrap_used, reason = "a panic is how a test reports")]

use proptest::prelude::*;

use spotlight_image::Volume;
use spotlight_image::evaluate::{
    Bootstrap, MsSsim, RingCorrelation, ShellCorrelation, Ssim, Window, average_precision,
    bootstrap_mean, masked_product, micro_fit, micro_ms3im, micro_ssim, ms_ssim, nrmse_in_mask,
    overlap, pearson, psnr, psnr_in_mask, psnr_masked_product, ring_correlation, shell_correlation,
    ssim, ssim_in_mask, ssim_map,
};

const WINDOW: Window = Window::Uniform(5);

fn image(shape: [usize; 3], seed: usize) -> Volume<f32> {
    Volume::from_fn(shape, |[z, y, x]| {
        let [dz, dy, dx] = [z, y, x].map(|i| i as f32 / 9.0);
        let noise = (z * 31 + y * 7919 + x * x * 104_729 + seed * 65_537 * (x + y)) % 101;
        20.0 * (dz.sin() + dy.cos() * dx.sin()) + noise as f32 / 10.0
    })
}

/// All scores of two images, as bits.
fn scores() -> Vec<u64> {
    let shape = [6, 190, 180];
    let (target, prediction) = (image(shape, 1), image(shape, 2));
    let mask = target.map(|v| *v > 0.0);
    let fit = micro_fit(&[(&target, &prediction)], 3.0);
    let labels = |image: &Volume<f32>| image.map(|v| (v.max(0.0) / 7.0) as u32);
    let overlap = overlap(&labels(&target), &labels(&prediction));
    let three = MsSsim { weights: vec![0.4, 0.6], ..MsSsim::default() };
    let volume = target.crop(spotlight_image::Region { start: [0; 3], shape: [6, 40, 40] });
    let mut found = vec![
        fit.offset_target,
        fit.offset_prediction,
        fit.factor,
        ssim(&target, &prediction, 60.0, &Ssim { window: WINDOW, ..Ssim::default() }),
        ssim_in_mask(
            &target,
            &prediction,
            &mask,
            60.0,
            &Ssim { window: WINDOW, ..Ssim::default() },
        )
        .mean,
        ms_ssim(&image([12, 30, 30], 1), &image([12, 30, 30], 2), 60.0, &three),
        pearson(&target, &prediction),
        bootstrap_mean(&[1.0, 4.0, 2.0, 3.0], &Bootstrap::default()).high,
    ];
    found.extend(micro_ssim(&target, &prediction, &fit));
    found.extend(micro_ms3im(&target, &prediction, &fit, &MsSsim::default()));
    let rings = ring_correlation(&target, 0.29, &RingCorrelation::default());
    found.extend(rings.iter().flat_map(|ring| ring.curve.correlation.clone()));
    let shells = shell_correlation(&volume, [0.29; 3], &ShellCorrelation::default());
    found.extend(shells.iter().flat_map(|shell| shell.resolution.curve.correlation.clone()));
    found.extend(average_precision(&overlap, &[0.1, 0.5]).iter().map(|p| p.average_precision));
    found.into_iter().map(f64::to_bits).collect()
}

#[test]
fn threads_do_not_count() {
    let with = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(scores)
    };
    let one = with(1);
    assert_eq!(one, with(3));
    assert!(one.iter().all(|bits| !f64::from_bits(*bits).is_nan()), "nothing was compared");
}

fn pairs() -> impl Strategy<Value = (Volume<f32>, Volume<f32>, Volume<bool>)> {
    ([1..4_usize, 7..12_usize, 7..12_usize], 0..1000_usize, 1..6_usize).prop_map(
        |(shape, seed, every)| {
            let mask = Volume::from_fn(shape, |[z, y, x]| (z + y * x + seed) % every != 1);
            (image(shape, seed), image(shape, seed + 1), mask)
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

    #[test]
    fn the_masked_product_is_the_product((target, prediction, mask) in pairs()) {
        let (a, b) = (masked_product(&target, &mask), masked_product(&prediction, &mask));
        let found = psnr_masked_product(&target, &prediction, &mask, 60.0);
        prop_assert!((found - psnr(&a, &b, 60.0)).abs() < 1e-9);
        // Zeros outside dilute the error.
        prop_assert!(found >= psnr_in_mask(&target, &prediction, &mask, 60.0) - 1e-9);
        let error = nrmse_in_mask(&target, &prediction, &mask, 60.0);
        let decibel = psnr_in_mask(&target, &prediction, &mask, 60.0);
        prop_assert!((decibel + 20.0 * error.log10()).abs() < 1e-9);
    }

    #[test]
    fn a_full_mask_changes_nothing((target, prediction, _) in pairs()) {
        let all = target.map(|_| true);
        let options = Ssim { window: WINDOW, ..Ssim::default() };
        let found = ssim_in_mask(&target, &prediction, &all, 60.0, &options);
        prop_assert_eq!(found.voxels, target.voxels.len());
        let map = ssim_map(&target, &prediction, 60.0, &options);
        let mean = map.voxels.iter().map(|v| f64::from(*v)).sum::<f64>() / found.voxels as f64;
        prop_assert!((found.mean - mean).abs() < 1e-6);
        prop_assert!(map.voxels.iter().all(|v| v.abs() <= 1.0 + 1e-6));
    }
}
