//! [`Plan`]: all that layout and options say of a store, before anything is written.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use zarrs::array::codec::{ShardingCodecOptions, SubchunkWriteOrder};
use zarrs::array::{Array, ArrayMetadata, CodecSpecificOptions};
use zarrs::filesystem::FilesystemStore;

use super::folder::Folder;
use super::labels::Parent;
use super::layout::ZarrLayout;
use super::level::{Level, levels};
use super::metadata::{array_file, image_attributes};
use super::options::ZarrOptions;
use super::progress::Progress;
use super::writer::ZarrWriter;
use crate::Error;

/// All that is known of a store before its folder is touched.
pub(super) struct Plan {
    pub(super) folder: Folder,
    layout: ZarrLayout,
    options: ZarrOptions,
    levels: Vec<Level>,
    parent: Option<Parent>,
}

impl Plan {
    pub(super) fn new(
        path: &Path,
        layout: &ZarrLayout,
        options: &ZarrOptions,
        digest: &str,
    ) -> Result<Self, Error> {
        check(layout, options, digest);
        let mut options = options.clone();
        let parent = if options.labels { Parent::of(path, layout)? } else { None };
        let folder = match &parent {
            Some(parent) => {
                options.version = parent.version();
                Folder::new(parent.label_path(), parent.work_path())
            }
            None => plain_folder(path)?,
        };
        let factors = parent.as_ref().map(Parent::factors);
        let levels = levels(layout, &options, factors);
        Ok(Self { folder, layout: layout.clone(), options, levels, parent })
    }

    /// The files that describe the levels.
    pub(super) fn array_files(&self) -> Vec<(String, String)> {
        let file = |(index, level): (usize, &Level)| {
            let (name, text) = array_file(&self.layout, &self.options, level);
            (format!("{index}/{name}"), text)
        };
        self.levels.iter().enumerate().map(file).collect()
    }

    /// All of layout and options that shows in the store.
    pub(super) fn print(&self) -> String {
        let windows = vec![[0.0; 2]; self.layout.channels.len()];
        let Self { layout, options, levels, .. } = self;
        let name = name_of(self.folder.target());
        let attributes = image_attributes(&name, layout, options, levels, &windows, None);
        let windows: Vec<_> = layout.channels.iter().map(|channel| channel.window).collect();
        let arrays = self.array_files();
        format!("{:#}\n{windows:?}\n{arrays:?}\n", serde_json::Value::Object(attributes))
    }

    pub(super) fn writer(self, progress: Progress) -> Result<ZarrWriter, Error> {
        let Self { folder, layout, options, levels, parent } = self;
        let wrong = |what: String| Error::Format { path: folder.target().to_owned(), what };
        let store = FilesystemStore::new(folder.store());
        let store = Arc::new(store.map_err(|error| wrong(error.to_string()))?);
        // Else the chunks of a shard lie in the order in which threads came to them.
        let order = ShardingCodecOptions::default();
        let order = order.with_subchunk_write_order(SubchunkWriteOrder::C);
        let order = CodecSpecificOptions::default().with_option(order);
        let array = |(index, level): (usize, &Level)| {
            let (_, text) = array_file(&layout, &options, level);
            let metadata =
                ArrayMetadata::try_from(text.as_str()).map_err(|error| error.to_string())?;
            let array = Array::new_with_metadata(store.clone(), &format!("/{index}"), metadata);
            let array = array.map_err(|error| error.to_string())?;
            Ok(array.with_codec_specific_options(&order))
        };
        let arrays = levels.iter().enumerate().map(array).collect::<Result<_, _>>();
        let arrays = arrays.map_err(wrong)?;
        Ok(ZarrWriter { folder, layout, options, levels, arrays, progress, parent })
    }
}

fn check(layout: &ZarrLayout, options: &ZarrOptions, digest: &str) {
    assert!(!layout.channels.is_empty(), "an image needs a channel");
    assert!(layout.times > 0, "an image needs a time point");
    assert!(layout.shape.iter().all(|length| *length > 0), "an image needs voxels");
    let unit = options.unit.unwrap_or([1; 3]);
    let lengths = options.chunk.iter().chain(&unit).chain(&options.levels);
    assert!(lengths.min().is_some_and(|length| *length > 0), "chunks, units, levels of 0");
    let labels = layout.sample_type.is_integer() && layout.channels.len() == 1;
    assert!(!options.labels || labels, "labels are integers of one channel");
    let windows = layout.channels.iter().filter_map(|channel| channel.window).flatten();
    let numbers = windows.chain(layout.origin_um.into_iter().flatten());
    assert!(numbers.into_iter().all(f64::is_finite), "windows and positions are finite");
    assert!(!digest.is_empty() && !digest.contains(['\n', '\r']), "a digest of one line");
}

fn plain_folder(path: &Path) -> Result<Folder, Error> {
    let Some(name) = path.file_name() else {
        let what = "the path of a store must end with its name".to_owned();
        return Err(Error::Choice { path: path.to_owned(), what, choices: "a name".to_owned() });
    };
    let name = name.to_string_lossy();
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let parent = parent.map_or_else(|| PathBuf::from("."), Path::to_owned);
    let work = parent.join(format!(".{name}.part"));
    Ok(Folder::new(path.to_owned(), work))
}

pub(super) fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
