//! The images of one contender, shown one after the other as often as a score needs them.

use anyhow::Result;
use spotlight_image::Volume;
use spotlight_image::evaluate::masked_product;
use spotlight_image::foreground::mask;

use super::comparison::{Case, Prepared, Space, Statistics, prepare};

/// Images are kept in memory up to this many bytes; those beyond are read again each time.
const KEPT_BYTES: usize = 2 << 30;

/// A part of the volume that scores are of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Region {
    /// All of it.
    Whole,
    /// Both images times the foreground mask of the target: still the whole volume.
    Foreground,
    /// The voxels of the mask alone.
    ForegroundVoxels,
}

impl Region {
    pub(super) const ALL: [Self; 3] = [Self::Whole, Self::Foreground, Self::ForegroundVoxels];

    /// Its word in the tables.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Whole => "whole",
            Self::Foreground => "foreground",
            Self::ForegroundVoxels => "foreground_voxels",
        }
    }
}

/// The images of one contender.
pub(super) struct Images<'a> {
    cases: Vec<Case>,
    space: Space<'a>,
    statistics: Vec<Option<Statistics>>,
    kept: Vec<Option<Prepared>>,
    room: usize,
}

impl<'a> Images<'a> {
    pub(super) fn new(cases: Vec<Case>, space: Space<'a>) -> Self {
        let (statistics, kept) = (vec![None; cases.len()], vec![None; cases.len()]);
        Self { cases, space, statistics, kept, room: KEPT_BYTES }
    }

    pub(super) fn len(&self) -> usize {
        self.cases.len()
    }

    /// Shows one image.
    pub(super) fn show<R>(&mut self, index: usize, see: impl FnOnce(&Prepared) -> R) -> Result<R> {
        if let Some(kept) = &self.kept[index] {
            return Ok(see(kept));
        }
        let (prepared, statistics) =
            prepare(&self.cases[index], self.space, self.statistics[index])?;
        self.statistics[index] = Some(statistics);
        let result = see(&prepared);
        // Two volumes of four bytes, and a mask of one.
        let bytes = 9 * prepared.target.voxels.len();
        if bytes <= self.room {
            self.room -= bytes;
            self.kept[index] = Some(prepared);
        }
        Ok(result)
    }
}

impl Prepared {
    /// The foreground of the target.
    pub(super) fn foreground(&self) -> Volume<bool> {
        mask(&self.target, self.threshold)
    }

    /// Intensities of the target and of a prediction in its units, as far as they count in a
    /// region: whole, or times the mask.
    pub(super) fn pair(&self, prediction: &Volume<f32>, region: Region) -> [Volume<f32>; 2] {
        let pair = [&self.target, prediction].map(|volume| self.intensity.of(volume));
        match region {
            Region::Whole | Region::ForegroundVoxels => pair,
            Region::Foreground => {
                let foreground = self.foreground();
                pair.map(|volume| masked_product(&volume, &foreground))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use spotlight_image::foreground::OtsuRecipe;
    use spotlight_io::{OutputChannel, Voxels, WriteOptions, write_ome_tiff};

    #[test]
    fn an_image_that_is_read_again_is_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, factor: usize| {
            let volume = Volume::from_fn([3, 9, 9], |[z, y, x]| ((z + factor * y * x) % 13) as f32);
            let voxels = Voxels::F32(volume);
            let channel = OutputChannel { name: "only", voxels: &voxels };
            let path = folder.path().join(name);
            write_ome_tiff(&path, &[channel], None, &WriteOptions::default()).unwrap();
            path
        };
        let (prediction, target) = (write("a.tif", 3), write("b.tif", 5));
        let case = Case { prediction, target, channel: None, mask: None };
        let space = Space::Raw(OtsuRecipe::Smooth);
        let seen = |room: usize| {
            let mut images = Images { room, ..Images::new(vec![case.clone()], space) };
            let shown = [0, 0].map(|index| {
                let see = |prepared: &Prepared| {
                    (prepared.pair(&prepared.prediction, Region::Foreground), prepared.threshold)
                };
                images.show(index, see).unwrap()
            });
            assert_eq!(images.kept[0].is_some(), room > 0);
            shown
        };
        let [first, again] = seen(0);
        assert_eq!(first, again);
        assert_eq!(seen(KEPT_BYTES), [first, again]);
    }
}
