//! Heat that spreads from the centre of one object.

use crate::{Shape, Volume};

/// Heat in the box of an object, with a margin of one voxel without heat around it.
pub(super) struct Heat {
    /// Shape of the box with its margin.
    shape: Shape,
    values: Vec<f64>,
    /// One over the number of voxels in a mean where the object is, 0 elsewhere.
    weights: Vec<f64>,
    flat: bool,
}

impl Heat {
    /// An object without heat. In a plane, heat spreads to 8 neighbours, in a stack to 6.
    pub(super) fn new(object: &Volume<bool>, flat: bool) -> Self {
        let shape = object.shape.map(|length| length + 2);
        let mut weights = vec![0.0; shape.iter().product()];
        let weight = if flat { 1.0 / 9.0 } else { 1.0 / 7.0 };
        let [depth, height, width] = object.shape;
        for z in 0..depth {
            for y in 0..height {
                let row = &object.voxels[object.offset([z, y, 0])..][..width];
                let first = ((z + 1) * shape[1] + y + 1) * shape[2] + 1;
                for (to, inside) in weights[first..first + width].iter_mut().zip(row) {
                    *to = if *inside { weight } else { 0.0 };
                }
            }
        }
        Self { shape, values: vec![0.0; weights.len()], weights, flat }
    }

    /// Adds 1 at the centre and lets the heat spread, so many times.
    pub(super) fn spread(&mut self, centre: [usize; 3], steps: usize) {
        let centre = self.offset(centre);
        let mut sums = vec![0.0; self.values.len()];
        for _ in 0..steps {
            self.values[centre] += 1.0;
            if self.flat {
                self.add_up_nine(&mut sums);
            } else {
                self.add_up_seven(&mut sums);
            }
            for ((value, sum), weight) in self.values.iter_mut().zip(&sums).zip(&self.weights) {
                *value = sum * weight;
            }
        }
    }

    /// Heat of a voxel of the box.
    pub(super) fn at(&self, place: [usize; 3]) -> f64 {
        self.values[self.offset(place)]
    }

    /// Heat of the voxel after less that of the voxel before, along (z, y, x).
    pub(super) fn gradient(&self, place: [usize; 3]) -> [f64; 3] {
        let offset = self.offset(place);
        let steps = [self.shape[1] * self.shape[2], self.shape[2], 1];
        steps.map(|step| self.values[offset + step] - self.values[offset - step])
    }

    fn offset(&self, [z, y, x]: [usize; 3]) -> usize {
        ((z + 1) * self.shape[1] + y + 1) * self.shape[2] + x + 1
    }

    /// Sums over squares of 3 by 3.
    ///
    /// The order of additions is the reference's: where an object is symmetric about its
    /// centre, what is left of the gradient there is rounding alone, of which the flow is
    /// the direction.
    fn add_up_nine(&self, sums: &mut [f64]) {
        let [_, height, width] = self.shape;
        for y in 1..height - 1 {
            let first = height * width + y * width + 1;
            let line = |start: usize| &self.values[start..start + width - 2];
            let rows = [first, first - width, first + width];
            let [here, above, below] = rows.map(line);
            let [left, above_left, below_left] = rows.map(|start| line(start - 1));
            let [right, above_right, below_right] = rows.map(|start| line(start + 1));
            for (x, sum) in sums[first..first + width - 2].iter_mut().enumerate() {
                let cross = here[x] + above[x] + below[x] + left[x] + right[x];
                *sum = cross + above_left[x] + above_right[x] + below_left[x] + below_right[x];
            }
        }
    }

    /// Sums over each voxel and its 6 neighbours.
    fn add_up_seven(&self, sums: &mut [f64]) {
        let [depth, height, width] = self.shape;
        let size = height * width;
        for z in 1..depth - 1 {
            for y in 1..height - 1 {
                let first = z * size + y * width + 1;
                let line = |start: usize| &self.values[start..start + width - 2];
                let here = line(first);
                let [behind, before] = [first + size, first - size].map(line);
                let [below, above] = [first + width, first - width].map(line);
                let [right, left] = [first + 1, first - 1].map(line);
                for (x, sum) in sums[first..first + width - 2].iter_mut().enumerate() {
                    let along_z = here[x] + behind[x] + before[x];
                    *sum = along_z + below[x] + above[x] + right[x] + left[x];
                }
            }
        }
    }
}
