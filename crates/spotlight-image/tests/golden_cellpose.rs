//! The reference vectors of Cellpose 3.1.1.1, `testdata/golden/cellpose`: all that need no
//! network. Those that do are run in `spotlight-learn`.

#![allow(clippy::unwrap_used, reason = "a panic is how a test reports")]

use std::collections::BTreeSet;

use serde_json::Value;
use spotlight_golden::{Array, Case, number, run_selected};
use spotlight_image::cellpose::{
    Dynamics, Normalisation, PlaneTile, TileMean, Tiling, ends_in_plane, ends_in_stack, extract,
    fill_and_remove, flow_errors, flows_of_planes, flows_of_stack, frame, joint_flows_of_planes,
    joint_flows_of_stack, masks_of_planes, masks_of_stack, normalise, normalise99, object_centres,
    objects_of_plane, objects_of_stack, remove_bad_flows, resize_linear, resize_nearest,
    scaled_shape, stitch, taper, tiles, unflip,
};
use spotlight_image::{Shape, Volume};

/// Cases that need the network, run by `golden_cellpose` of `spotlight-learn`.
const OF_THE_NETWORK: [&str; 7] = [
    "cellpose/eval_2d",
    "cellpose/eval_3d_anisotropy",
    "cellpose/eval_3d_same_diameter",
    "cellpose/network_full",
    "cellpose/network_small",
    "cellpose/run_3d",
    "cellpose/run_net_tiled",
];

#[test]
fn golden_cellpose() {
    run_selected(
        "cellpose",
        |case| !OF_THE_NETWORK.contains(&case.name().as_str()),
        |case| {
            let functions = case.functions();
            match functions[0].as_str() {
                "cellpose.transforms.normalize99" => check_normalise99(case),
                "cellpose.transforms.normalize_img" => check_normalise(case),
                "cellpose.transforms.resize_image" => check_resize(case),
                "cellpose.transforms.get_pad_yx" => check_frame(case),
                "cellpose.transforms.make_tiles, unaugment_tiles, average_tiles" => {
                    check_tiles(case);
                }
                "cellpose.dynamics.resize_and_compute_masks" => check_resized_masks(case),
                "cellpose.utils.fill_holes_and_remove_small_masks" => check_fill(case),
                "cellpose.utils.stitch3D" => check_stitch(case),
                name if name.starts_with("cellpose.dynamics.compute_masks") => check_masks(case),
                name if name.starts_with("cellpose.dynamics.masks_to_flows") => check_flows(case),
                other => panic!("{}: unknown function {other}", case.name()),
            }
        },
    );
}

fn check_normalise99(case: &Case) {
    case.only_params(&["lower", "upper"]);
    let percents = ["lower", "upper"].map(|name| number(case.param(name)));
    let image = case.input("image");
    let found = normalise99(&volume(&image.shape, image.to_f32()), percents);
    case.check_array("normalized", &image.shape, &to_f64(&found));
}

fn check_normalise(case: &Case) {
    case.only_params(&["norm3D", "percentile"]);
    let percents = case.param("percentile").as_array().unwrap();
    let options = Normalisation {
        percents: [number(&percents[0]), number(&percents[1])],
        whole_stack: case.param("norm3D").as_bool().unwrap(),
    };
    let image = case.input("image");
    let channels: Vec<Volume<f32>> =
        channels_last(&image).iter().map(|channel| normalise(channel, &options)).collect();
    case.check_array("normalized", &image.shape, &interleaved(&channels));
}

fn check_resize(case: &Case) {
    case.only_params(&["Ly", "Lx", "rsz", "interpolation", "no_channels"]);
    let image = case.input("image");
    let has_channels = image.shape.len() == 4;
    let channels = if has_channels {
        channels_last(&image)
    } else {
        vec![volume(&image.shape, image.to_f32())]
    };
    let old = channels[0].shape;
    let shape = match case.param("rsz").as_f64() {
        Some(factor) => {
            [old[0], scaled_shape(old, factor, 1.0)[1], scaled_shape(old, factor, 1.0)[2]]
        }
        None => {
            let length = |name| case.param(name).as_u64().unwrap() as usize;
            [old[0], length("Ly"), length("Lx")]
        }
    };
    let resize = |channel: &Volume<f32>| match case.param("interpolation").as_str().unwrap() {
        "linear" => resize_linear(channel, shape),
        "nearest" => resize_nearest(channel, shape),
        other => panic!("unknown interpolation {other}"),
    };
    let resized: Vec<Volume<f32>> = channels.iter().map(resize).collect();
    let mut lengths = shape[3 - image.shape.len().min(3)..].to_vec();
    lengths.extend(has_channels.then_some(channels.len()));
    case.check_array("resized", &lengths, &interleaved(&resized));
}

fn check_frame(case: &Case) {
    case.only_params(&["div", "extra"]);
    assert_eq!([number(case.param("div")), number(case.param("extra"))], [16.0, 1.0]);
    let cases = case.scalar("cases").as_array().unwrap();
    assert!(!cases.is_empty());
    for row in cases {
        let [height, width] = numbers(&row["size"])[..] else { panic!("a size has two lengths") };
        let padding = frame([1, height, width]);
        let after = |axis: usize| padding.shape[axis] - padding.inner.stop()[axis];
        let found = [padding.inner.start[1], after(1), padding.inner.start[2], after(2)];
        assert_eq!(found.to_vec(), numbers(&row["ypad1_ypad2_xpad1_xpad2"]));
    }
}

fn check_tiles(case: &Case) {
    case.only_params(&["bsize", "augment", "tile_overlap", "Ly", "Lx"]);
    let [size, height, width] =
        ["bsize", "Ly", "Lx"].map(|name| case.param(name).as_u64().unwrap() as usize);
    let augment = case.param("augment").as_bool().unwrap();
    let overlap = case.param("tile_overlap").as_f64().unwrap_or(0.1);
    let found = tiles([height, width], &Tiling { size, overlap, augment });
    for (axis, name) in ["y_ranges", "x_ranges"].into_iter().enumerate() {
        let expected: Vec<_> = case.scalar(name).as_array().unwrap().iter().map(numbers).collect();
        let range = |tile: &PlaneTile| vec![tile.start[axis], tile.start[axis] + tile.shape[axis]];
        assert_eq!(found.iter().map(range).collect::<Vec<_>>(), expected, "{name}");
    }
    let image = case.input("image");
    let image = volume(&image.shape, image.to_f32());
    let outputs = case.input("tile_outputs");
    let [rows, columns] = found[0].shape;
    let output: Vec<Volume<f32>> = outputs
        .to_f32()
        .chunks_exact(3 * rows * columns)
        .map(|part| Volume::new([3, rows, columns], part.to_vec()))
        .collect();
    assert_eq!(output.len(), found.len(), "outputs of all tiles");
    let shown = numbers(case.scalar("tile_indices"));
    let listed = |tile: &dyn Fn(usize) -> Volume<f32>| -> Vec<f64> {
        shown.iter().flat_map(|index| to_f64(&tile(*index))).collect()
    };
    let inputs = listed(&|index| extract(&image, &found[index]));
    case.check_array("tiles", &case.expected("tiles").shape, &inputs);
    if augment {
        let upright = listed(&|index| unflip(&output[index], &found[index]));
        case.check_array("unaugmented", &case.expected("unaugmented").shape, &upright);
    }
    let mut mean = TileMean::new([3, height, width]);
    found.iter().zip(&output).for_each(|(tile, output)| mean.add(tile, output));
    case.check_array("averaged", &[3, height, width], &to_f64(&mean.finish()));
    let longest = rows.max(columns);
    let [down, across] = [rows, columns].map(|length| taper(length, longest));
    let weights: Vec<f64> = down.iter().flat_map(|y| across.iter().map(move |x| y * x)).collect();
    case.check_array("taper_mask", &[rows, columns], &weights);
}

fn check_fill(case: &Case) {
    case.only_params(&["min_size"]);
    let min_voxels = case.param("min_size").as_u64().unwrap() as usize;
    for dimensions in ["2d", "3d"] {
        let found =
            fill_and_remove(&labels(&case.input(&format!("labels_{dimensions}"))), min_voxels);
        let name = format!("filled_{dimensions}");
        let shape = case.expected(&name).shape;
        case.check_array(
            &name,
            &shape,
            &found.voxels.iter().map(|v| f64::from(*v)).collect::<Vec<_>>(),
        );
    }
}

fn check_stitch(case: &Case) {
    case.only_params(&["stitch_threshold"]);
    let found = stitch(&labels(&case.input("planes")), number(case.param("stitch_threshold")));
    assert_eq!(case.tolerance("stitched")["ideal"], "exact");
    assert_eq!(found, labels(&case.expected("stitched")));
}

fn check_flows(case: &Case) {
    case.only_params(&[]);
    let input = labels(&case.input("labels"));
    for name in case.expected_arrays() {
        let flows: Vec<Volume<f32>> = match name.as_str() {
            "flows" => flows_of_planes(&input).into(),
            "flows_gpu_variant" => joint_flows_of_planes(&input).into(),
            "flows_from_planes" => flows_of_stack(&input).into(),
            "flows_3d_diffusion" => joint_flows_of_stack(&input).into(),
            "centers" => {
                let centres = object_centres(&input);
                let found: Vec<f64> =
                    centres.values().flat_map(|[_, y, x]| [*y as f64, *x as f64]).collect();
                case.check_array("centers", &[centres.len(), 2], &found);
                continue;
            }
            other => panic!("unknown array {other}"),
        };
        let found: Vec<f64> = flows.iter().flat_map(to_f64).collect();
        case.check_array(&name, &case.expected(&name).shape, &found);
    }
}

fn dynamics(case: &Case) -> Dynamics {
    let or = |name: &str, default: f64| case.param(name).as_f64().unwrap_or(default);
    let default = Dynamics::default();
    Dynamics {
        steps: case.param("niter").as_u64().unwrap() as usize,
        cell_threshold: or("cellprob_threshold", default.cell_threshold),
        flow_threshold: number(case.param("flow_threshold")),
        min_voxels: case.param("min_size").as_u64().unwrap() as usize,
        max_fraction: or("max_size_fraction", default.max_fraction),
        interpolate: case.param("interp").as_bool().unwrap_or(default.interpolate),
    }
}

fn check_resized_masks(case: &Case) {
    case.only_params(&["resize", "niter", "flow_threshold", "min_size"]);
    let (flow, logit) = flow_and_logit(case);
    let [y, x] = &flow[..] else { panic!("a plane has two flows") };
    let [height, width] = numbers(case.param("resize"))[..] else { panic!("two lengths") };
    let found = masks_of_planes([y, x], &logit, [1, height, width], &dynamics(case));
    check_very_labels(case, "masks", &found);
}

fn check_masks(case: &Case) {
    let known = [
        "niter",
        "cellprob_threshold",
        "flow_threshold",
        "interp",
        "min_size",
        "do_3D",
        "max_size_fraction",
    ];
    case.only_params(&known);
    let options = dynamics(case);
    let (flow, logit) = flow_and_logit(case);
    let (objects, good, masks, ends) = match &flow[..] {
        [y, x] => {
            let objects = objects_of_plane([y, x], &logit, &options);
            let good = remove_bad_flows(&objects, [y, x], options.flow_threshold);
            let masks = masks_of_planes([y, x], &logit, logit.shape, &options);
            assert_eq!(masks, fill_and_remove(&good, options.min_voxels));
            if !case.scalar("flow_errors_before_check").is_null() {
                check_errors(case, &objects, [y, x]);
            }
            let ends = ends_in_plane([y, x], &logit, &options);
            (objects, good, masks, ends)
        }
        [z, y, x] => {
            let objects = objects_of_stack([z, y, x], &logit, &options);
            let masks = masks_of_stack([z, y, x], &logit, logit.shape, &options);
            (objects.clone(), objects, masks, ends_in_stack([z, y, x], &logit, &options))
        }
        _ => panic!("two or three flows"),
    };
    let stages = [
        ("masks_before_quality_check", &objects),
        ("masks_after_quality_check", &good),
        ("masks", &masks),
    ];
    let counts = numbers(case.scalar("n"));
    for ((name, found), count) in stages.into_iter().zip(counts) {
        check_very_labels(case, name, found);
        let present: BTreeSet<u32> = found.voxels.iter().copied().filter(|l| *l != 0).collect();
        assert_eq!(present.len(), count, "{}: objects of {name}", case.name());
    }
    if case.expected_arrays().iter().any(|name| name == "final_positions") {
        check_ends(case, &ends, flow.len());
    }
}

fn check_errors(case: &Case, objects: &Volume<u32>, flow: [&Volume<f32>; 2]) {
    let name = "flow_errors_before_check";
    let expected: Vec<f64> = case.scalar(name).as_array().unwrap().iter().map(number).collect();
    let found: Vec<f64> = flow_errors(objects, flow).into_values().collect();
    case.check_values(name, &found, &expected);
}

fn check_ends(case: &Case, ends: &[[f32; 3]], axes: usize) {
    let name = "final_positions";
    let found: Vec<f64> =
        (3 - axes..3).flat_map(|axis| ends.iter().map(move |end| f64::from(end[axis]))).collect();
    case.check_array(name, &[axes, ends.len()], &found);
    let tolerance = case.tolerance(name);
    let expected = case.expected(name).to_f64();
    let close = |limit: f64| {
        let near = found.iter().zip(&expected).filter(|(a, b)| (*a - *b).abs() <= limit);
        near.count() as f64 / found.len() as f64
    };
    assert!(close(number(&tolerance["abs_loose"])) >= number(&tolerance["fraction_loose"]));
    // More than the case asks for: the very arithmetic of the reference.
    assert!(close(0.0) >= 0.998, "{}: {} agree to the last bit", case.name(), close(0.0));
}

/// More than the case asks for: the very labels.
fn check_very_labels(case: &Case, name: &str, found: &Volume<u32>) {
    let voxels: Vec<f64> = found.voxels.iter().map(|label| f64::from(*label)).collect();
    let expected = case.expected(name);
    assert_eq!(found.shape, labels(&expected).shape, "{}: shape of {name}", case.name());
    case.check_values(name, &voxels, &expected.to_f64());
    assert!(*found == labels(&expected), "{}: {name}: other labels", case.name());
}

fn flow_and_logit(case: &Case) -> (Vec<Volume<f32>>, Volume<f32>) {
    let [flow, logit] = ["dP", "cellprob"].map(|name| case.input(name));
    let logit = volume(&logit.shape, logit.to_f32());
    let components = flow.to_f32();
    let components = components.chunks_exact(logit.voxels.len());
    (components.map(|part| Volume::new(logit.shape, part.to_vec())).collect(), logit)
}

fn channels_last(image: &Array) -> Vec<Volume<f32>> {
    let [z, y, x, channels] = image.shape[..] else { panic!("not (z, y, x, channel)") };
    let voxels = image.to_f32();
    (0..channels)
        .map(|channel| {
            let voxels = voxels.iter().skip(channel).step_by(channels).copied();
            Volume::new([z, y, x], voxels.collect())
        })
        .collect()
}

fn interleaved(channels: &[Volume<f32>]) -> Vec<f64> {
    let count = channels[0].voxels.len();
    (0..count).flat_map(|i| channels.iter().map(move |c| f64::from(c.voxels[i]))).collect()
}

fn to_f64(volume: &Volume<f32>) -> Vec<f64> {
    volume.voxels.iter().map(|voxel| f64::from(*voxel)).collect()
}

fn numbers(value: &Value) -> Vec<usize> {
    value.as_array().unwrap().iter().map(|n| n.as_u64().unwrap() as usize).collect()
}

fn labels(array: &Array) -> Volume<u32> {
    assert!(array.is_integer(), "labels of {}", array.dtype());
    volume(&array.shape, array.to_f64().into_iter().map(|label| label as u32).collect())
}

/// Planes are volumes of one plane.
fn volume<T>(lengths: &[usize], voxels: Vec<T>) -> Volume<T> {
    let mut shape: Shape = [1; 3];
    shape[3 - lengths.len()..].copy_from_slice(lengths);
    Volume::new(shape, voxels)
}
