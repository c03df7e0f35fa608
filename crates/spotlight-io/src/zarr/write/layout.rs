//! [`ZarrLayout`]: what image a store is for.

use spotlight_image::grid::Shape;

use crate::metadata::positive;
use crate::voxels::SampleType;

/// The image a store is made for: its axes are time, channel, z, y, x.
#[derive(Clone, Debug, PartialEq)]
pub struct ZarrLayout {
    /// Number of voxels along (z, y, x).
    pub shape: Shape,
    /// Number of time points.
    pub times: usize,
    /// The channels; a label image has one.
    pub channels: Vec<ZarrChannel>,
    /// The type of the numbers.
    pub sample_type: SampleType,
    /// Voxel size along (z, y, x) in µm, where it is known.
    pub spacing_um: Option<[f64; 3]>,
    /// Position of the centre of the first voxel along (z, y, x) in µm; used with
    /// `spacing_um` only.
    pub origin_um: Option<[f64; 3]>,
    /// Time between two time points in s, where it is known.
    pub time_step_s: Option<f64>,
}

/// What viewers are told of a channel.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ZarrChannel {
    /// Its name.
    pub name: String,
    /// Red, green, blue; none is white, or a colour of its own where there are several.
    pub colour: Option<[u8; 3]>,
    /// The values shown black and full; none is the range of the coarsest level.
    pub window: Option<[f64; 2]>,
}

impl ZarrLayout {
    /// One time point of channels that have a name alone.
    ///
    /// # Examples
    ///
    /// ```
    /// use spotlight_io::{SampleType, ZarrLayout};
    ///
    /// let layout = ZarrLayout::stack([8, 64, 64], SampleType::U16, &["DNA"], Some([0.5, 0.2, 0.2]));
    /// assert_eq!((layout.times, layout.channels.len()), (1, 1));
    /// ```
    #[must_use]
    pub fn stack(
        shape: Shape,
        sample_type: SampleType,
        channels: &[&str],
        spacing_um: Option<[f64; 3]>,
    ) -> Self {
        let channel = |name: &&str| ZarrChannel { name: (*name).into(), ..Default::default() };
        Self {
            shape,
            times: 1,
            channels: channels.iter().map(channel).collect(),
            sample_type,
            spacing_um,
            origin_um: None,
            time_step_s: None,
        }
    }

    /// The voxel size, where it is one: better none than a wrong one.
    pub(super) fn valid_spacing_um(&self) -> Option<[f64; 3]> {
        self.spacing_um.filter(|um| um.iter().all(|um| positive(*um).is_some()))
    }
}
