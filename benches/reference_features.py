"""Measures the objects of the benchmark `features` with scikit-image and trimesh, beside it.

Runs the benchmark, then the references on the labels it wrote, each on one thread, and prints
how long both took and how far the features are apart:

    pip install -r benches/requirements_features.txt
    python benches/reference_features.py [FOLDER]

The mesh features are those of cubic.feature.mesh. Each object is meshed in its bounding box and
a margin of one voxel; cubic meshes the whole image for each object, which takes far longer.
Needs cargo, and room for about 50 MB in FOLDER.
"""

import os

# Before NumPy is loaded: one thread for each program.
for library in ("OMP", "OPENBLAS", "MKL"):
    os.environ[f"{library}_NUM_THREADS"] = "1"

import csv
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import trimesh
from skimage.measure import marching_cubes, regionprops, regionprops_table
from trimesh.curvature import (
    discrete_gaussian_curvature_measure,
    discrete_mean_curvature_measure,
)

VOXEL_FEATURES = [
    "area",
    "area_bbox",
    "area_convex",
    "area_filled",
    "axis_major_length",
    "axis_minor_length",
    "equivalent_diameter_area",
    "euler_number",
    "extent",
    "feret_diameter_max",
    "inertia_tensor",
    "inertia_tensor_eigvals",
    "solidity",
]
REPOSITORY = Path(__file__).resolve().parent.parent


def main() -> None:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(sys.argv[1] if len(sys.argv) > 1 else temporary).resolve()
        spotlight = run_benchmark(folder)
        labels = np.load(folder / "labels.npy").astype(np.int32)
        ours = read_table(folder / "features.csv")
        theirs, seconds = {}, {}
        for name, features in (("voxel", voxel_features), ("mesh", mesh_features)):
            start = time.process_time()
            theirs.update(features(labels))
            seconds[name] = time.process_time() - start
        print_times(spotlight, seconds)
        print_differences(ours, theirs)


def run_benchmark(folder: Path) -> dict[str, float]:
    """Runs the benchmark; returns the numbers it prints."""
    command = ["cargo", "bench", "-p", "spotlight-image", "--bench", "features", "--", str(folder)]
    output = subprocess.run(
        command, cwd=REPOSITORY, check=True, stdout=subprocess.PIPE, text=True
    ).stdout
    pairs = (line.split() for line in output.splitlines())
    return {pair[0]: float(pair[1]) for pair in pairs if len(pair) == 2}


def read_table(path: Path) -> dict[str, np.ndarray]:
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    return {name: np.array([float(row[name]) for row in rows]) for name in rows[0]}


def voxel_features(labels: np.ndarray) -> dict[str, np.ndarray]:
    return regionprops_table(labels, properties=VOXEL_FEATURES)


def mesh_features(labels: np.ndarray) -> dict[str, np.ndarray]:
    rows = [mesh_row(np.pad(region.image, 1)) for region in regionprops(labels)]
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}


def mesh_row(mask: np.ndarray) -> dict[str, float]:
    vertices, faces, _, _ = marching_cubes(mask, 0.5)
    mesh = trimesh.Trimesh(vertices=vertices, faces=faces)
    trimesh.repair.fix_normals(mesh)
    least, medium, largest = sorted(mesh.extents)
    inertia = mesh.principal_inertia_components
    box, hull = mesh.bounding_box.volume, mesh.convex_hull
    return {
        "mesh_area": mesh.area,
        "mesh_volume": mesh.volume,
        "mesh_axis_length_min": least,
        "mesh_axis_length_med": medium,
        "mesh_axis_length_max": largest,
        "mesh_scale": mesh.scale,
        "mesh_inertia_pc1": inertia[0],
        "mesh_inertia_pc2": inertia[1],
        "mesh_inertia_pc3": inertia[2],
        "mesh_bounding_box_volume": box,
        "mesh_oriented_box_volume": mesh.bounding_box_oriented.volume,
        "mesh_cylinder_volume": mesh.bounding_cylinder.volume,
        "mesh_sphere_volume": mesh.bounding_sphere.volume,
        "mesh_hull_volume": hull.volume,
        "mesh_hull_area": hull.area,
        "mesh_sphericity": np.cbrt(np.pi) * (6 * mesh.volume) ** (2 / 3) / mesh.area,
        "mesh_extent": mesh.volume / box,
        "mesh_solidity": mesh.volume / hull.volume,
        "mesh_gaussian_curvature": discrete_gaussian_curvature_measure(
            mesh, mesh.vertices, 1
        ).mean(),
        "mesh_mean_curvature": discrete_mean_curvature_measure(mesh, mesh.vertices, 1).mean(),
    }


def print_times(spotlight: dict[str, float], seconds: dict[str, float]) -> None:
    print(f"{spotlight['objects']:.0f} objects; seconds that one processor was busy")
    print(f"{'features':10} {'reference':>10} {'spotlight':>10} {'ratio':>6}")
    # Both parts of the reference together against all shape features in one go.
    seconds = {**seconds, "shape": sum(seconds.values())}
    for name, reference in seconds.items():
        ours = spotlight[f"{name}_processor_seconds"]
        print(f"{name:10} {reference:10.3f} {ours:10.3f} {reference / ours:6.1f}")
    print(f"spotlight, memory above the input: {spotlight['peak_bytes_per_voxel']} bytes a voxel")


def print_differences(ours: dict[str, np.ndarray], theirs: dict[str, np.ndarray]) -> None:
    print(f"\n{'ours / theirs - 1':28} {'least':>10} {'median':>10} {'largest':>10}")
    for name, expected in theirs.items():
        with np.errstate(divide="ignore", invalid="ignore"):
            part = ours[name] / expected - 1
        # Differences from 0 and from what is not finite are absolute, or none.
        part = np.where(expected == 0, ours[name], part)
        part = part[np.isfinite(expected)]
        print(f"{name:28} {part.min():10.1e} {np.median(part):10.1e} {part.max():10.1e}")


if __name__ == "__main__":
    main()
