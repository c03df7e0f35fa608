//! Writes images of several time points and channels as OME-TIFF, plane by plane.
//!
//! Planes lie in the order of Fiji's hyperstacks: channel fastest, then z, then time
//! (`XYCZT`). Only one plane is in memory.

use std::path::Path;

use super::write::{OmeTiffWriter, PlaneOrder, Planned, WriteOptions};
use crate::Error;
use crate::source::Layout;
use crate::voxels::Voxels;

/// Which plane of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlaneIndex {
    /// Time point.
    pub time: usize,
    /// Position along z.
    pub z: usize,
    /// Channel.
    pub channel: usize,
}

/// Writes an image as an OME-TIFF; `plane` gives its planes, 1 × y × x voxels each, in the
/// order of the file: channel fastest, then z, then time.
///
/// The block of the layout does not matter. A channel without a name stays without one. Files
/// above 4 GB become `BigTIFF`. The file appears under its name when it is whole, and not at
/// all where writing or `plane` fails.
///
/// # Errors
///
/// [`Error::Exists`] if the file exists and may not be replaced, [`Error::Io`] if the system
/// refuses; whatever `plane` fails with.
///
/// # Panics
///
/// If the layout has no channel, time point or voxel, or a plane has another shape or type.
///
/// # Examples
///
/// ```
/// use spotlight_image::Volume;
/// use spotlight_io::{Layout, SampleType, Voxels, WriteOptions, inspect, write_ome_tiff_planes};
///
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("series.ome.tif");
/// let layout = Layout {
///     shape: [2, 4, 4],
///     sample_type: SampleType::U8,
///     times: 3,
///     channel_names: vec![Some("DNA".into())],
///     partial_spacing_um: [Some(0.5), Some(0.2), Some(0.2)],
///     block: [1, 4, 4],
/// };
/// write_ome_tiff_planes(&path, &layout, &WriteOptions::default(), |plane| {
///     Ok(Voxels::from(Volume::filled([1, 4, 4], (10 * plane.time + plane.z) as u8)))
/// })?;
/// assert_eq!(inspect(&path)?.shape, [3, 2, 4, 4]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn write_ome_tiff_planes(
    path: &Path,
    layout: &Layout,
    options: &WriteOptions,
    mut plane: impl FnMut(PlaneIndex) -> Result<Voxels, Error>,
) -> Result<(), Error> {
    let [depth, height, width] = layout.shape;
    let names: Vec<&str> =
        layout.channel_names.iter().map(|name| name.as_deref().unwrap_or("")).collect();
    let image = Planned {
        shape: layout.shape,
        times: layout.times,
        sample_type: layout.sample_type,
        channels: &names,
        order: PlaneOrder::ChannelFirst,
        spacing_um: layout.partial_spacing_um,
    };
    let mut writer = OmeTiffWriter::begin(path, &image, options)?;
    let channels = names.len();
    for index in 0..layout.times * depth * channels {
        let voxels = plane(PlaneIndex {
            time: index / (depth * channels),
            z: index / channels % depth,
            channel: index % channels,
        })?;
        assert_eq!(voxels.shape(), [1, height, width], "planes of the layout's shape");
        writer.write(&voxels)?;
    }
    writer.finish()
}

#[cfg(test)]
mod tests {
    use spotlight_image::Volume;

    use super::*;
    use crate::{Channel, SampleType, Selection, inspect, read_stack};

    fn layout() -> Layout {
        Layout {
            shape: [2, 3, 4],
            sample_type: SampleType::U16,
            times: 3,
            channel_names: vec![Some("DNA".into()), None],
            partial_spacing_um: [None, Some(0.25), Some(0.5)],
            block: [1, 3, 4],
        }
    }

    #[test]
    fn every_plane_is_read_back_at_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.ome.tif");
        let value = |t: usize, z: usize, c: usize| (100 * t + 10 * z + c) as u16;
        write_ome_tiff_planes(&path, &layout(), &WriteOptions::default(), |at| {
            Ok(Volume::filled([1, 3, 4], value(at.time, at.z, at.channel)).into())
        })
        .unwrap();
        let info = inspect(&path).unwrap();
        assert_eq!((info.axes.as_str(), info.times), ("TZCYX", 3));
        assert_eq!(info.channel_names, ["DNA", "1"]);
        assert_eq!(info.partial_spacing_um, [None, Some(0.25), Some(0.5)]);
        for (time, channel) in [(0, 0), (2, 1)] {
            let selection = Selection { channel: Some(Channel::Index(channel)), time, series: 0 };
            let found = read_stack(&path, &selection).unwrap().voxels;
            let expected = Volume::from_fn([2, 3, 4], |[z, ..]| value(time, z, channel));
            assert_eq!(found, expected.into());
        }
    }

    #[test]
    fn a_plane_that_fails_leaves_no_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.ome.tif");
        let options = WriteOptions::default();
        let error = write_ome_tiff_planes(&path, &layout(), &options, |at| match at.z {
            0 => Ok(Volume::filled([1, 3, 4], 1_u16).into()),
            _ => Err(Error::Format { path: "in.czi".into(), what: "torn".into() }),
        });
        assert_eq!(error.unwrap_err().to_string(), "in.czi: torn");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
