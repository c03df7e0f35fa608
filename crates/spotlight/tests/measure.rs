//! `spotlight measure` end to end: label images in, a table of their objects out.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod program;
mod stacks;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::Output;

use program::{fails, program, succeeds};
use serde_json::Value;
use spotlight::image::Volume;
use spotlight::io::{OutputChannel, Voxels, WriteOptions, write_ome_tiff};
use stacks::folder_of;

const SPACING: Option<[f64; 3]> = Some([0.5, 0.25, 0.25]);

/// A folder with label images and images; it vanishes with this.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, voxels: impl Into<Voxels>, spacing_um: Option<[f64; 3]>) {
        self.write_channels(name, &[("only", voxels.into())], spacing_um);
    }

    fn write_channels(&self, name: &str, channels: &[(&str, Voxels)], size: Option<[f64; 3]>) {
        let options = WriteOptions { overwrite: true, ..WriteOptions::default() };
        let channels = channels.iter().map(|(name, voxels)| OutputChannel { name, voxels });
        let channels: Vec<OutputChannel> = channels.collect();
        write_ome_tiff(&self.path(name), &channels, size, &options).unwrap();
    }

    /// Runs `spotlight measure` in the folder.
    fn measure(&self, arguments: &str) -> Output {
        let mut command = program();
        command.current_dir(&self.0).arg("measure").args(arguments.split(' '));
        command.output().unwrap()
    }

    /// Measures what must succeed: standard output and standard error.
    #[track_caller]
    fn succeed(&self, arguments: &str) -> [String; 2] {
        let output = self.measure(arguments);
        [succeeds(&output), String::from_utf8(output.stderr).unwrap()]
    }

    /// Checks that a command fails in one sentence with these parts and writes nothing.
    #[track_caller]
    fn refuse(&self, arguments: &str, status: i32, parts: &[&str]) {
        let before = self.names();
        fails(&self.measure(arguments), status, parts);
        assert_eq!(self.names(), before, "something was left behind");
    }

    fn names(&self) -> Vec<String> {
        folder_of(self.0.path())
    }

    fn table(&self, name: &str) -> Rows {
        let mut reader = csv::Reader::from_path(self.path(name)).unwrap();
        let header = reader.headers().unwrap().iter().map(str::to_owned).collect();
        let rows = reader.deserialize().map(Result::unwrap).collect();
        Rows { header, rows }
    }

    fn record(&self, name: &str) -> Value {
        serde_json::from_slice(&fs::read(self.path(name)).unwrap()).unwrap()
    }
}

/// A table that was read back.
struct Rows {
    header: Vec<String>,
    rows: Vec<BTreeMap<String, String>>,
}

impl Rows {
    #[track_caller]
    fn text(&self, row: usize, column: &str) -> &str {
        self.rows[row].get(column).unwrap_or_else(|| panic!("no column {column}"))
    }

    #[track_caller]
    fn number(&self, row: usize, column: &str) -> f64 {
        self.text(row, column).parse().unwrap()
    }

    #[track_caller]
    fn check(&self, row: usize, expected: &[(&str, f64)]) {
        for (column, value) in expected {
            let found = self.number(row, column);
            assert!((found - value).abs() < 1e-9, "{column}: {found}, expected {value}");
        }
    }

    fn column(&self, name: &str) -> Vec<f64> {
        (0..self.rows.len()).map(|row| self.number(row, name)).collect()
    }
}

/// A cuboid of `sides` voxels at `start`.
fn cuboid(shape: [usize; 3], start: [usize; 3], sides: [usize; 3], label: u32) -> Volume<u32> {
    Volume::from_fn(shape, |p| {
        let inside = (0..3).all(|a| (start[a]..start[a] + sides[a]).contains(&p[a]));
        if inside { label } else { 0 }
    })
}

/// Some objects of every kind: a cuboid, a voxel, a line, a plane, two pieces of one label.
fn objects() -> Volume<u32> {
    let mut labels = cuboid([8, 12, 14], [1, 1, 1], [3, 4, 5], 3);
    let mut set = |z: usize, y: usize, x: usize, label| {
        let offset = labels.offset([z, y, x]);
        labels.voxels[offset] = label;
    };
    set(6, 6, 6, 7);
    for i in 0..4 {
        set(6, 10, 2 + i, 20);
        for j in 0..3 {
            set(2, 7 + j, 8 + i, 70_000);
        }
    }
    set(0, 0, 12, 900);
    set(7, 0, 12, 900);
    labels
}

#[test]
fn a_cuboid_has_the_values_that_one_computes_by_hand() {
    let folder = Folder::new();
    folder.write("a.tif", cuboid([8, 9, 10], [2, 3, 4], [3, 4, 5], 5), SPACING);
    let image = Volume::from_fn([8, 9, 10], |[_, _, x]| x as u16);
    folder.write("dna.tif", image, SPACING);
    let [out, remarks] = folder.succeed("--labels a.tif --image DNA=dna.tif -o t.csv");
    assert_eq!(out, "t.csv: 1 object, 57 features, 1 image\n");
    assert_eq!(remarks, "");
    let table = folder.table("t.csv");
    table.check(
        0,
        &[
            ("Metadata_ImageNumber", 1.0),
            ("Metadata_ObjectNumber", 5.0),
            ("Metadata_TouchesBorder", 0.0),
            ("Metadata_SpacingZ_um", 0.5),
            ("Metadata_SpacingX_um", 0.25),
            ("Metadata_Nuclei_Location_Center_X", 6.0),
            ("Metadata_Nuclei_Location_Center_Y", 4.5),
            ("Metadata_Nuclei_Location_Center_Z", 3.0),
            ("Metadata_SourceBBoxXMin", 4.0),
            ("Metadata_SourceBBoxXMax", 9.0),
            ("Metadata_SourceBBoxZMin", 2.0),
            ("Metadata_SourceBBoxZMax", 5.0),
            ("Nuclei_AreaShape_Volume", 60.0),
            ("Nuclei_AreaShape_PhysicalVolume", 60.0 * 0.5 * 0.25 * 0.25),
            ("Nuclei_AreaShape_BoundingBoxVolume", 60.0 * 0.5 * 0.25 * 0.25),
            ("Nuclei_AreaShape_Extent", 1.0),
            ("Nuclei_AreaShape_Solidity", 1.0),
            ("Nuclei_AreaShape_EulerNumber", 1.0),
            // Moments of voxel centres: (n² − 1) / 12 along an axis of n, in µm².
            ("Nuclei_AreaShape_InertiaTensor_0_0", (15.0 + 24.0) / 12.0 * 0.0625),
            ("Nuclei_AreaShape_InertiaTensor_2_2", (8.0 * 0.25 + 15.0 * 0.0625) / 12.0),
            ("Nuclei_Intensity_MeanIntensity_DNA", 6.0),
            ("Nuclei_Intensity_IntegratedIntensity_DNA", 360.0),
            ("Nuclei_Intensity_MinIntensity_DNA", 4.0),
            ("Nuclei_Intensity_MaxIntensity_DNA", 8.0),
            ("Nuclei_Intensity_StdIntensity_DNA", 2.0_f64.sqrt()),
            // Σ x² / Σ x − mean = 2 / 6 voxels.
            ("Nuclei_Intensity_MassDisplacement_DNA", 0.25 / 3.0),
        ],
    );
    assert_eq!(table.text(0, "Metadata_FileName_Nuclei"), "a.tif");
    assert_eq!(table.text(0, "Metadata_PathName_Nuclei"), ".");
    assert_eq!(table.text(0, "Metadata_FileName_DNA"), "dna.tif");
    assert!(table.number(0, "Nuclei_Texture_Contrast_DNA_1_Mean_32") > 0.0);
    let record = folder.record("t.csv.json");
    assert_eq!(record["outputs"][0], "t.csv");
    assert_eq!(record["inputs"].as_array().unwrap().len(), 2);
    let details = &record["details"];
    assert_eq!(details["unit_of_length"], "um");
    assert_eq!(details["units"]["Nuclei_AreaShape_Volume"], "voxel^3");
    assert_eq!(details["units"]["Nuclei_AreaShape_PhysicalVolume"], "um^3");
    assert_eq!(details["images"][0]["objects"], 1);
}

#[test]
fn features_of_profiles_are_there_and_identifiers_are_no_features() {
    let folder = Folder::new();
    folder.write("a.tif", objects(), SPACING);
    folder.succeed("--labels a.tif -o t.csv");
    let table = folder.table("t.csv");
    for name in [
        "Volume",
        "SurfaceArea",
        "MajorAxisLength",
        "MinorAxisLength",
        "Extent",
        "Solidity",
        "EulerNumber",
        "EquivalentDiameter",
        "BoundingBoxVolume",
    ] {
        assert!(table.header.contains(&format!("Nuclei_AreaShape_{name}")), "no {name}");
    }
    let first: Vec<&str> = table.header.iter().map(String::as_str).take(2).collect();
    assert_eq!(first, ["Metadata_ImageNumber", "Metadata_ObjectNumber"]);
    let features = table.header.iter().filter(|name| name.starts_with("Nuclei_AreaShape_"));
    let identifiers = table.header.iter().filter(|name| name.starts_with("Metadata_"));
    assert_eq!((features.count(), identifiers.count()), (44, 17));
    assert_eq!(table.header.len(), 44 + 17);
    folder.succeed("--labels a.tif -o mito.csv --compartment Mito");
    assert!(folder.table("mito.csv").header.contains(&"Mito_AreaShape_Volume".to_owned()));
    // Underscores part the names of features.
    let refused = folder.measure("--labels a.tif -o b.csv --compartment a_b");
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("one word of letters and digits"));
}

#[test]
fn objects_of_every_kind_have_all_features_of_shape() {
    let folder = Folder::new();
    folder.write("a.tif", objects(), SPACING);
    folder.write("i.tif", Volume::from_fn([8, 12, 14], |[z, y, x]| (z + y * x) as f32), None);
    folder.succeed("--labels a.tif --image E=i.tif -o t.csv");
    let table = folder.table("t.csv");
    // Labels have gaps and go beyond 65,535.
    assert_eq!(table.column("Metadata_ObjectNumber"), [3.0, 7.0, 20.0, 900.0, 70_000.0]);
    assert_eq!(table.column("Nuclei_AreaShape_Volume"), [60.0, 1.0, 4.0, 2.0, 12.0]);
    assert_eq!(table.column("Metadata_TouchesBorder"), [0.0, 0.0, 0.0, 1.0, 0.0]);
    for name in table.header.iter().filter(|name| name.contains("_AreaShape_")) {
        assert!(table.column(name).iter().all(|value| value.is_finite()), "{name}");
    }
    // A single voxel, and two that are no neighbours, have brightness and no texture.
    let texture = table.column("Nuclei_Texture_Contrast_E_1_Mean_32");
    assert_eq!(texture.map_nan(), [false, true, false, true, false]);
    assert_eq!(table.text(1, "Nuclei_Texture_Contrast_E_1_Mean_32"), "NaN");
    assert_eq!(table.number(1, "Nuclei_Intensity_MeanIntensity_E"), 42.0);
    // A plane of 3 × 4 voxels is all of its bounding box.
    assert_eq!(table.number(4, "Nuclei_AreaShape_Extent"), 1.0);
    assert_eq!(table.number(4, "Nuclei_AreaShape_PhysicalVolume"), 12.0 * 0.03125);
}

trait MapNan {
    fn map_nan(&self) -> Vec<bool>;
}

impl MapNan for Vec<f64> {
    fn map_nan(&self) -> Vec<bool> {
        self.iter().map(|value| value.is_nan()).collect()
    }
}

#[test]
fn several_images_are_paired_in_order() {
    let folder = Folder::new();
    let shape = [4, 6, 6];
    for (i, label) in [(1, 9_u32), (2, 4)] {
        folder.write(&format!("m{i}.tif"), cuboid(shape, [1; 3], [2, 2, 2 + i], label), SPACING);
        let level = |level: usize| Volume::filled(shape, (level + i) as u16);
        folder.write(&format!("dna{i}.tif"), level(10), SPACING);
        folder.write(&format!("er{i}.tif"), level(20), SPACING);
        let both = [("DNA", level(10).into()), ("ER 2", level(20).into())];
        folder.write_channels(&format!("both{i}.tif"), &both, SPACING);
    }
    let images = "--image DNA=dna?.tif ER2=er1.tif er2.tif";
    let [out, _] = folder.succeed(&format!("--labels m?.tif {images} -o t.csv"));
    assert_eq!(out, "t.csv: 2 objects, 70 features, 2 images\n");
    let table = folder.table("t.csv");
    assert_eq!(table.column("Metadata_ImageNumber"), [1.0, 2.0]);
    assert_eq!(table.column("Metadata_ObjectNumber"), [9.0, 4.0]);
    assert_eq!(table.column("Nuclei_Intensity_MeanIntensity_DNA"), [11.0, 12.0]);
    assert_eq!(table.column("Nuclei_Intensity_MeanIntensity_ER2"), [21.0, 22.0]);
    assert_eq!(table.text(1, "Metadata_FileName_ER2"), "er2.tif");

    // The same from files of two channels.
    let command = "--labels m1.tif m2.tif --image both1.tif both2.tif --channel";
    for (i, channels) in ["DNA,ER 2", "0,1"].iter().enumerate() {
        let mut run = program();
        run.current_dir(&folder.0).arg("measure").args(command.split(' ')).arg(channels);
        let output = run.args(["-o", &format!("both{i}.csv")]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let both = folder.table(&format!("both{i}.csv"));
        for name in table.header.iter().filter(|name| name.starts_with("Nuclei_")) {
            assert_eq!(both.column(name), table.column(name), "{name}");
        }
    }
}

#[test]
fn an_image_without_objects_gives_a_header_and_a_remark() {
    let folder = Folder::new();
    folder.write("none.tif", Volume::filled([3, 4, 5], 0_u8), SPACING);
    let [out, remarks] = folder.succeed("--labels none.tif -o t.csv");
    assert_eq!(out, "t.csv: 0 objects, 44 features, 1 image\n");
    assert_eq!(remarks, "none.tif has no object: the table has no row of it\n");
    let table = folder.table("t.csv");
    assert_eq!((table.header.len(), table.rows.len()), (61, 0));
    folder.succeed("--labels none.tif -o t.parquet");
    // Others keep their numbers.
    folder.write("one.tif", cuboid([3, 4, 5], [1; 3], [1; 3], 1), SPACING);
    folder.succeed("--labels none.tif one.tif -o u.csv");
    assert_eq!(folder.table("u.csv").column("Metadata_ImageNumber"), [2.0]);
}

#[test]
fn lengths_are_in_the_unit_that_was_asked_for() {
    let folder = Folder::new();
    let cube = cuboid([6; 3], [1; 3], [4; 3], 1);
    folder.write("sized.tif", cube.clone(), SPACING);
    folder.write("plain.tif", cube, None);
    let volume = |arguments: &str| {
        let [_, remarks] = folder.succeed(&format!("{arguments} -o t.csv --overwrite"));
        let table = folder.table("t.csv");
        let unit = folder.record("t.csv.json")["details"]["unit_of_length"].clone();
        let spacing = table.text(0, "Metadata_SpacingZ_um").to_owned();
        let volume = table.number(0, "Nuclei_AreaShape_PhysicalVolume");
        (volume, unit.as_str().unwrap().to_owned(), spacing, remarks)
    };
    let expected = |volume: f64, unit: &str, spacing: &str, remarks: &str| {
        (volume, unit.to_owned(), spacing.to_owned(), remarks.to_owned())
    };
    assert_eq!(volume("--labels sized.tif"), expected(2.0, "um", "0.5", ""));
    assert_eq!(volume("--labels plain.tif --spacing 2"), expected(512.0, "um", "2.0", ""));
    assert_eq!(volume("--labels sized.tif --spacing 2"), expected(512.0, "um", "2.0", ""));
    assert_eq!(volume("--labels sized.tif --in-voxels"), expected(64.0, "voxel", "NaN", ""));
    let remark = "plain.tif gives no voxel size: lengths are in voxels \
                  (--spacing z,y,x gives them in µm)\n";
    assert_eq!(volume("--labels plain.tif"), expected(64.0, "voxel", "NaN", remark));
    let parts = ["sized.tif", "plain.tif", "--spacing", "--in-voxels"];
    folder.refuse("--labels sized.tif plain.tif -o u.csv", 1, &parts);
}

#[test]
fn what_does_not_fit_is_refused_in_one_sentence() {
    let folder = Folder::new();
    folder.write("a.tif", cuboid([3, 4, 5], [1; 3], [1; 3], 1), SPACING);
    folder.write("wide.tif", Volume::filled([3, 4, 6], 1_u16), SPACING);
    folder.write("half.tif", Volume::filled([3, 4, 5], 0.5_f32), SPACING);
    folder.write("whole.tif", Volume::filled([3, 4, 5], 2.0_f32), SPACING);
    let shapes = ["a.tif has 3 x 4 x 5", "wide.tif has 3 x 4 x 6"];
    folder.refuse("--labels a.tif --image D=wide.tif -o t.csv", 1, &shapes);
    folder.refuse("--labels half.tif -o t.csv", 1, &["half.tif", "[0, 0, 0]", "0.5", "whole"]);
    folder.refuse("--labels no.tif -o t.csv", 1, &["no.tif", "no such file"]);
    folder.refuse("--labels a.tif -o t.xlsx", 2, &["t.xlsx", ".csv or .parquet"]);
    folder.refuse("--labels a.tif -o no/t.csv", 1, &["no/t.csv", "folder"]);
    folder.refuse(
        "--labels a.tif --image a.tif a.tif -o t.csv",
        2,
        &["two images are called only"],
    );
    let counts = ["2 label images and 1 images of D"];
    folder.refuse("--labels a.tif wide.tif --image D=a.tif -o t.csv", 2, &counts);
    let same = ["Nuclei", "as the objects are"];
    folder.refuse("--labels a.tif --image Nuclei=a.tif -o t.csv", 2, &same);
    folder.succeed("--labels whole.tif -o t.csv");
    folder.refuse("--labels whole.tif -o t.csv", 2, &["t.csv exists already", "--overwrite"]);
    fs::remove_file(folder.path("t.csv")).unwrap();
    folder.refuse("--labels a.tif -o t.csv", 2, &["t.csv.json exists already"]);
    folder.succeed("--labels whole.tif -o t.csv --overwrite");
    fs::copy(folder.path("a.tif"), folder.path("a.csv")).unwrap();
    folder.refuse("--labels a.csv -o a.csv --overwrite", 2, &["a.csv would replace an input"]);
}

#[test]
fn the_number_of_threads_changes_no_byte() {
    let folder = Folder::new();
    folder.write("a.tif", objects(), SPACING);
    folder.write("i.tif", Volume::from_fn([8, 12, 14], |[z, y, x]| (z * y + x) as f32), None);
    for ending in ["csv", "parquet"] {
        let bytes = [1, 2].map(|threads| {
            let name = format!("{threads}.{ending}");
            let files = "--labels a.tif --image E=i.tif";
            folder.succeed(&format!("{files} -o {name} --threads {threads}"));
            fs::read(folder.path(&name)).unwrap()
        });
        assert!(bytes[0] == bytes[1], "{ending} differs");
    }
}
