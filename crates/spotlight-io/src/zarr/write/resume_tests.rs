//! Stores that are killed and resumed at every point, beside stores written at a stretch.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use spotlight_image::Volume;

use super::store_tests::{crop, files};
use super::*;
use crate::{Error, SampleType, Voxels};

fn image() -> Voxels {
    Volume::from_fn([3, 9, 8], |[z, y, x]| (1 + 100 * z + 10 * y + x) as u16).into()
}

fn layout() -> ZarrLayout {
    ZarrLayout::stack([3, 9, 8], SampleType::U16, &["DNA"], Some([0.5; 3]))
}

fn options(version: NgffVersion) -> ZarrOptions {
    ZarrOptions {
        version,
        chunk: [2, 4, 8],
        unit: Some([2, 8, 8]),
        levels: Some(3),
        ..ZarrOptions::default()
    }
}

const VERSIONS: [NgffVersion; 2] = [NgffVersion::V04, NgffVersion::V05];

/// Takes the store up or begins it, as every program should.
fn open(path: &Path, options: &ZarrOptions) -> ZarrWriter {
    let layout = layout();
    match ZarrWriter::resume(path, &layout, options, "digest").unwrap() {
        Some(writer) => writer,
        None => ZarrWriter::create(path, &layout, options, "digest").unwrap(),
    }
}

/// Writes at most so many units that are not yet there.
fn go_on(writer: &ZarrWriter, most: usize) {
    let missing: Vec<_> =
        writer.units().into_iter().filter(|unit| !writer.is_done(0, 0, *unit)).collect();
    for unit in missing.into_iter().take(most) {
        writer.write_unit(0, 0, unit, &crop(&image(), unit)).unwrap();
    }
}

/// The files of a store written at a stretch.
fn undisturbed(options: &ZarrOptions) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.zarr");
    let writer = open(&path, options);
    go_on(&writer, usize::MAX);
    writer.finish().unwrap();
    files(&path)
}

fn copy(from: &Path, to: &Path) {
    for (name, bytes) in files(from) {
        let path = to.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
}

/// Resumes what lies in a folder, ends it, and compares.
#[track_caller]
fn check_end(folder: &Path, options: &ZarrOptions, expected: &[(PathBuf, Vec<u8>)], when: &str) {
    let path = folder.join("a.zarr");
    let writer = open(&path, options);
    go_on(&writer, usize::MAX);
    writer.finish().unwrap();
    assert!(files(&path) == expected, "{when}");
    assert_eq!(fs::read_dir(folder).unwrap().count(), 1, "{when}");
}

#[test]
fn a_writer_dropped_after_any_unit_is_resumed() {
    for version in VERSIONS {
        let options = options(version);
        let expected = undisturbed(&options);
        let folder = tempfile::tempdir().unwrap();
        let units = open(&folder.path().join("a.zarr"), &options).units().len();
        assert_eq!(units, 4);
        for count in 0..=units {
            let folder = tempfile::tempdir().unwrap();
            let writer = open(&folder.path().join("a.zarr"), &options);
            go_on(&writer, count);
            drop(writer);
            check_end(folder.path(), &options, &expected, &format!("{count} units"));
        }
    }
}

#[test]
fn progress_cut_off_at_any_byte_is_resumed() {
    let options = options(NgffVersion::V05);
    let expected = undisturbed(&options);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.zarr");
    let writer = open(&path, &options);
    go_on(&writer, usize::MAX);
    writer.write_lower_levels().unwrap();
    writer.write_image_metadata().unwrap();
    writer.progress.mark_complete().unwrap();
    drop(writer);
    let work = folder.path().join(".a.zarr.part");
    let length = fs::metadata(work.join("progress")).unwrap().len();
    assert!(length > 80);
    for length in 0..=length {
        let copied = tempfile::tempdir().unwrap();
        let copied_work = copied.path().join(".a.zarr.part");
        copy(&work, &copied_work);
        let progress = fs::File::options().write(true).open(copied_work.join("progress"));
        progress.unwrap().set_len(length).unwrap();
        // What was on the way at the kill.
        fs::create_dir_all(copied_work.join("new")).unwrap();
        fs::write(copied_work.join("new/7"), "half a shard").unwrap();
        check_end(copied.path(), &options, &expected, &format!("{length} bytes"));
    }
}

#[test]
fn a_kill_while_the_name_is_given_is_resumed() {
    let options = ZarrOptions { overwrite: true, ..options(NgffVersion::V05) };
    let expected = undisturbed(&options);
    for step in ["complete", "old moved", "named", "no progress"] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.zarr");
        let work = folder.path().join(".a.zarr.part");
        fs::create_dir(&path).unwrap();
        fs::write(path.join("zarr.json"), "an older store").unwrap();
        let writer = open(&path, &options);
        go_on(&writer, usize::MAX);
        writer.write_lower_levels().unwrap();
        writer.write_image_metadata().unwrap();
        writer.progress.mark_complete().unwrap();
        drop(writer);
        if step != "complete" {
            fs::rename(&path, work.join("old")).unwrap();
        }
        if step == "named" || step == "no progress" {
            fs::rename(work.join("store"), &path).unwrap();
        }
        if step == "no progress" {
            fs::remove_file(work.join("progress")).unwrap();
            assert!(ZarrWriter::resume(&path, &layout(), &options, "digest").unwrap().is_none());
            assert!(files(&path) == expected && !work.exists());
        }
        check_end(folder.path(), &options, &expected, step);
    }
}

#[test]
fn labels_named_but_not_listed_are_listed_on_resuming() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("image.zarr");
    let writer = open(&path, &options(NgffVersion::V05));
    go_on(&writer, usize::MAX);
    writer.finish().unwrap();
    let labels = ZarrOptions { labels: true, ..options(NgffVersion::V05) };
    let label = path.join("labels/nuclei");
    let writer = open(&label, &labels);
    go_on(&writer, usize::MAX);
    writer.write_lower_levels().unwrap();
    writer.write_image_metadata().unwrap();
    writer.progress.mark_complete().unwrap();
    writer.parent.as_ref().unwrap().make_group().unwrap();
    writer.folder.publish(false).unwrap();
    drop(writer);
    assert!(label.join("zarr.json").exists());
    open(&label, &labels).finish().unwrap();
    let group = fs::read_to_string(path.join("labels/zarr.json")).unwrap();
    assert!(group.contains("nuclei"), "{group}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn other_content_is_not_mixed_in() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.zarr");
    let options = options(NgffVersion::V05);
    assert!(ZarrWriter::resume(&path, &layout(), &options, "digest").unwrap().is_none());
    let writer = open(&path, &options);
    go_on(&writer, 3);
    let busy = ZarrWriter::resume(&path, &layout(), &options, "digest").unwrap_err().to_string();
    assert!(busy.contains("another program is writing it"), "{busy}");
    drop(writer);
    let message = |result: Result<Option<ZarrWriter>, Error>| result.unwrap_err().to_string();
    let other = message(ZarrWriter::resume(&path, &layout(), &options, "another"));
    assert!(other.contains("other inputs or settings lies in"), "{other}");
    assert!(other.contains(".a.zarr.part; choose the same inputs"), "{other}");
    let wider = ZarrLayout { shape: [3, 9, 9], ..layout() };
    let other = message(ZarrWriter::resume(&path, &wider, &options, "digest"));
    assert!(other.contains("another shape or other options"), "{other}");
    let smaller = ZarrOptions { compression: ZarrCompression::None, ..options.clone() };
    let other = message(ZarrWriter::resume(&path, &layout(), &smaller, "digest"));
    assert!(other.contains("another shape or other options"), "{other}");
    let mut described = layout();
    described.channels[0].window = Some([0.0, 9.0]);
    let other = message(ZarrWriter::resume(&path, &described, &options, "digest"));
    assert!(other.contains("another shape or other options"), "{other}");
    let kept = message(ZarrWriter::create(&path, &layout(), &options, "digest").map(Some));
    assert!(kept.contains("an unfinished store of this name lies in"), "{kept}");
    // None of these has harmed it.
    let writer = open(&path, &options);
    assert_eq!(writer.units().iter().filter(|unit| writer.is_done(0, 0, **unit)).count(), 3);
    drop(writer);
    let anew = ZarrOptions { overwrite: true, ..options };
    let writer = ZarrWriter::create(&path, &layout(), &anew, "another").unwrap();
    assert!(writer.units().iter().all(|unit| !writer.is_done(0, 0, *unit)));
}

#[test]
fn a_system_that_refuses_leaves_a_store_to_resume() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.zarr");
    let work = folder.path().join(".a.zarr.part");
    let options = options(NgffVersion::V05);
    let writer = open(&path, &options);
    go_on(&writer, 2);
    // A file in the way stands for all that a system may refuse.
    fs::remove_dir(work.join("new")).unwrap();
    fs::write(work.join("new"), "").unwrap();
    let unit = writer.units()[2];
    let refused = writer.write_unit(0, 0, unit, &crop(&image(), unit)).unwrap_err().to_string();
    assert!(refused.contains("a.zarr: ") && refused.contains("is kept in"), "{refused}");
    assert!(refused.contains("goes on from there"), "{refused}");
    assert!(!writer.is_done(0, 0, unit));
    drop(writer);
    check_end(folder.path(), &options, &undisturbed(&options), "refused");

    let path = folder.path().join("b.zarr");
    let writer = open(&path, &options);
    go_on(&writer, 2);
    fs::remove_dir_all(folder.path().join(".b.zarr.part")).unwrap();
    let gone = writer.write_unit(0, 0, unit, &crop(&image(), unit)).unwrap_err().to_string();
    assert!(gone.contains(".b.zarr.part is gone, and the same command begins anew"), "{gone}");
    assert!(writer.finish_all(&image()).is_err());
    assert!(!folder.path().join(".b.zarr.part").exists() && !path.exists());
    let missing = folder.path().join("no/such/a.zarr");
    let missing = ZarrWriter::create(&missing, &layout(), &options, "digest").unwrap_err();
    assert!(missing.to_string().contains("check the spelling"), "{missing}");
}

impl ZarrWriter {
    /// Writes what is missing and finishes, for tests that expect an error of either.
    fn finish_all(self, voxels: &Voxels) -> Result<(), Error> {
        for unit in self.units() {
            if !self.is_done(0, 0, unit) {
                self.write_unit(0, 0, unit, &crop(voxels, unit))?;
            }
        }
        self.finish()
    }
}

/// The folder for the program that is killed below.
const KILLED: &str = "SPOTLIGHT_KILLED_ZARR_WRITER";

#[test]
fn a_killed_program_ends_with_the_same_bytes() {
    let options = options(NgffVersion::V04);
    if let Some(folder) = std::env::var_os(KILLED) {
        let path = Path::new(&folder).join("a.zarr");
        let resumed = ZarrWriter::resume(&path, &layout(), &options, "digest").unwrap();
        if resumed.is_none() && path.exists() {
            return;
        }
        drop(resumed);
        open(&path, &options).finish_all(&image()).unwrap();
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let name = "zarr::write::resume_tests::a_killed_program_ends_with_the_same_bytes";
    let mut kills = 0;
    for attempt in 0.. {
        assert!(attempt < 1000, "never done");
        let mut child = Command::new(std::env::current_exe().unwrap());
        let child = child.args(["--exact", name]).env(KILLED, folder.path()).stdout(Stdio::null());
        let mut child = child.spawn().unwrap();
        // Longer each time, so that the end is reached on any machine.
        std::thread::sleep(Duration::from_millis(2 + 3 * attempt));
        drop(child.kill());
        let status = child.wait().unwrap();
        if status.success() {
            break;
        }
        assert_eq!(status.code(), None, "a program failed that was not killed");
        kills += 1;
    }
    println!("killed {kills} times");
    assert!(files(&folder.path().join("a.zarr")) == undisturbed(&options));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}
