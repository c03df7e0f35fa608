//! Planes cut from a volume and brought to square pixels.

use spotlight_image::Volume;

/// A plane of values, row by row from the top.
#[derive(Clone, Debug, PartialEq)]
pub struct Section {
    /// Values in a row.
    pub width: usize,
    /// Number of rows.
    pub height: usize,
    /// The values, `width * height` of them.
    pub values: Vec<f32>,
}

/// The xy section at plane `z`: rows along y.
///
/// # Panics
///
/// If the volume has no such plane.
#[must_use]
pub fn xy(volume: &Volume<f32>, z: usize) -> Section {
    let [_, height, width] = volume.shape;
    Section { width, height, values: volume.plane(z).to_vec() }
}

/// The xz section at line `y`: rows along z, the first plane on top.
///
/// # Panics
///
/// If the volume has no such line.
#[must_use]
pub fn xz(volume: &Volume<f32>, y: usize) -> Section {
    let [height, _, width] = volume.shape;
    let row = |z| &volume.voxels[volume.offset([z, y, 0])..][..width];
    Section { width, height, values: (0..height).flat_map(row).copied().collect() }
}

/// Brings a section to another number of pixels over the same extent.
///
/// Whole-number enlargement repeats values, so voxels stay crisp; whole-number
/// reduction averages; anything else interpolates linearly between voxel centres.
#[must_use]
pub fn fit(section: &Section, width: usize, height: usize) -> Section {
    let rows = section.values.chunks_exact(section.width);
    let wide: Vec<f32> = rows.flat_map(|row| fit_line(row, width)).collect();
    let mut values = vec![0.0; width * height];
    for x in 0..width {
        let column: Vec<f32> = (0..section.height).map(|y| wide[y * width + x]).collect();
        for (y, value) in fit_line(&column, height).into_iter().enumerate() {
            values[y * width + x] = value;
        }
    }
    Section { width, height, values }
}

fn fit_line(line: &[f32], length: usize) -> Vec<f32> {
    if length.is_multiple_of(line.len()) {
        let repeat = length / line.len();
        return (0..length).map(|i| line[i / repeat]).collect();
    }
    if line.len().is_multiple_of(length) {
        let mean = |part: &[f32]| part.iter().sum::<f32>() / part.len() as f32;
        return line.chunks_exact(line.len() / length).map(mean).collect();
    }
    let step = line.len() as f64 / length as f64;
    let last = line.len() - 1;
    (0..length)
        .map(|i| {
            let position = ((i as f64 + 0.5) * step - 0.5).clamp(0.0, last as f64);
            let before = (position as usize).min(last);
            let share = (position - before as f64) as f32;
            line[before] * (1.0 - share) + line[(before + 1).min(last)] * share
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_cut_the_right_voxels() {
        let volume = Volume::from_fn([2, 3, 2], |[z, y, x]| (100 * z + 10 * y + x) as f32);
        assert_eq!(xy(&volume, 1).values, [100.0, 101.0, 110.0, 111.0, 120.0, 121.0]);
        assert_eq!(xz(&volume, 2).values, [20.0, 21.0, 120.0, 121.0]);
    }

    #[track_caller]
    fn check(line: &[f32], expected: &[f32]) {
        let section = Section { width: line.len(), height: 1, values: line.to_vec() };
        assert_eq!(fit(&section, expected.len(), 1).values, expected);
        let upright = Section { width: 1, height: line.len(), values: line.to_vec() };
        assert_eq!(fit(&upright, 1, expected.len()).values, expected);
    }

    #[test]
    fn whole_factors_repeat_or_average() {
        check(&[1.0, 5.0], &[1.0, 1.0, 1.0, 5.0, 5.0, 5.0]);
        check(&[1.0, 3.0, 5.0, 9.0], &[2.0, 7.0]);
    }

    #[test]
    fn other_factors_interpolate_between_centres() {
        check(&[0.0, 6.0], &[0.0, 3.0, 6.0]);
        check(&[0.0, 3.0, 6.0, 9.0], &[0.5, 4.5, 8.5]);
    }
}
