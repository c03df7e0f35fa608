//! Reducing a stack that is in a store: blur and cubic spline, one axis after the other.
//!
//! The steps are those of [`resize`](crate::resample::resize), in their order. A slab across z has
//! whole lines along x and y, one across y whole lines along x and z; any order of three axes
//! is done in two turns of such slabs.

use super::space::{Fault, Space, slabs};
use super::store::Store;
use crate::Volume;
use crate::filter::to_unit;
use crate::grid::{Region, Shape, voxel_count};
use crate::resample::{Step, apply, clip_to_range, default_steps};

/// Bytes that a voxel of a slab takes while it is read and reduced.
const REDUCING: usize = 24;

/// Part of the work before and after.
const PARTS: [f64; 2] = [0.5, 0.7];

/// An equalised stack.
pub(super) struct Levels<'a, E> {
    pub(super) store: Store<'a, u16, E>,
    /// The lowest and the highest level, which become 0 and 1.
    pub(super) range: [f32; 2],
}

/// What a turn begins with.
enum Source<'a, E> {
    Levels(Levels<'a, E>),
    Wide(Store<'a, f64, E>),
}

/// A slab on its way: f32 before the first step and after the last, f64 between.
enum Slab {
    Narrow(Volume<f32>),
    Wide(Volume<f64>),
}

/// The stack from 0 to 1, on another grid.
pub(super) fn reduce<'a, E>(
    levels: Levels<'a, E>,
    shape: Shape,
    space: &'a Space<'a, E>,
) -> Result<Store<'a, f32, E>, Fault<E>> {
    let [low, high] = levels.range;
    let range = (to_unit(low, low, high), to_unit(high, low, high));
    let mut old = levels.store.shape;
    let steps = default_steps(old, shape);
    let turns = turns(&steps);
    let mut from = Source::Levels(levels);
    for (index, (axis, steps)) in turns.iter().enumerate() {
        let is_last = index + 1 == turns.len();
        let mut new = old;
        steps.iter().for_each(|step| new[step.axis] = step.length());
        let part = (PARTS[1] - PARTS[0]) / turns.len() as f64;
        let parts = [0.0, 1.0].map(|end| PARTS[0] + part * (index as f64 + end));
        let turn = Turn { axis: *axis, steps, is_last, parts };
        if is_last {
            let to = Store::new(new, space)?;
            turn.run(&from, old, space, |start, slab| match slab {
                Slab::Narrow(mut volume) => {
                    clip_to_range(range, &mut volume);
                    to.write(start, &volume)
                }
                Slab::Wide(_) => unreachable!("the last step gives f32"),
            })?;
            return Ok(to);
        }
        let to = Store::new(new, space)?;
        turn.run(&from, old, space, |start, slab| match slab {
            Slab::Wide(volume) => to.write(start, &volume),
            Slab::Narrow(_) => unreachable!("steps before the last give f64"),
        })?;
        (from, old) = (Source::Wide(to), new);
    }
    unreachable!("there is a turn")
}

/// Steps that slabs across one axis can do, one turn after the other.
fn turns(steps: &[Step]) -> Vec<(usize, &[Step])> {
    let mut turns = Vec::new();
    let mut rest = steps;
    while !rest.is_empty() || turns.is_empty() {
        let possible =
            |axis: usize| rest.iter().position(|step| step.axis == axis).unwrap_or(rest.len());
        let axis = usize::from(possible(1) > possible(0));
        let (now, later) = rest.split_at(possible(axis));
        turns.push((axis, now));
        rest = later;
    }
    turns
}

/// One turn of slabs.
struct Turn<'s> {
    /// The axis that the slabs lie across.
    axis: usize,
    steps: &'s [Step],
    /// Whether the result is what is wanted.
    is_last: bool,
    /// Parts of the work before and after.
    parts: [f64; 2],
}

impl Turn<'_> {
    fn run<E>(
        &self,
        from: &Source<'_, E>,
        old: Shape,
        space: &Space<'_, E>,
        write: impl Fn([usize; 3], Slab) -> Result<(), E>,
    ) -> Result<(), Fault<E>> {
        let regions = slabs(old, self.axis, space.working_bytes() / REDUCING);
        let needed = regions.first().map_or(0, |slab| (REDUCING * voxel_count(slab.shape)) as u64);
        space.check(needed, "the voxels of a plane", regions.first().copied())?;
        for (done, region) in regions.iter().enumerate() {
            space.tell_within(self.parts, done, regions.len());
            let mut slab = from.read(*region)?;
            for (index, step) in self.steps.iter().enumerate() {
                let is_last = self.is_last && index + 1 == self.steps.len();
                slab = slab.after(step, is_last);
            }
            // The slab lies across an axis that these steps leave as it is.
            write(region.start, slab)?;
        }
        Ok(())
    }
}

impl<E> Source<'_, E> {
    fn read(&self, region: Region) -> Result<Slab, E> {
        match self {
            Self::Levels(Levels { store, range: [low, high] }) => {
                let unit = |level: &u16| to_unit(f32::from(*level), *low, *high);
                Ok(Slab::Narrow(store.read(region)?.map(unit)))
            }
            Self::Wide(store) => Ok(Slab::Wide(store.read(region)?)),
        }
    }
}

impl Slab {
    fn after(self, step: &Step, is_last: bool) -> Self {
        match (self, is_last) {
            (Self::Narrow(volume), true) => Self::Narrow(apply(step, &volume)),
            (Self::Narrow(volume), false) => Self::Wide(apply(step, &volume)),
            (Self::Wide(volume), true) => Self::Narrow(apply(step, &volume)),
            (Self::Wide(volume), false) => Self::Wide(apply(step, &volume)),
        }
    }
}
