"""Measures Spotlight's segmentation beside scikit-image's and SciPy's, in turns, in one run.

    python3 -m venv /tmp/segmentation
    /tmp/segmentation/bin/pip install -r benches/requirements_segmentation.txt
    /tmp/segmentation/bin/python benches/reference_segmentation.py

A simulated stack of 64x224x336 voxels with about 100 nuclei goes through the default chain and
through every filter of it, beside `cargo bench -p spotlight-image --bench segmentation`. The head of
steps.py tells what the columns mean; images are equal where they differ by 2e-6 at most.
"""

import warnings

import numpy as np
import scipy.ndimage as ndi
from skimage import exposure, feature, filters, measure, morphology, segmentation, transform

from steps import arguments, compare


def stretch(stack, percents=(0.1, 99.9)):
    low, high = (float(limit) for limit in np.percentile(stack, percents))
    return exposure.rescale_intensity(stack, in_range=(low, high), out_range=(0.0, 1.0))


def equalise(stretched):
    kernel = [max(n // d, 1) for n, d in zip(stretched.shape, (2, 3, 5))]
    return exposure.equalize_adapthist(stretched, kernel_size=kernel, clip_limit=0.015)


def reduce(equalised):
    return transform.rescale(equalised, 0.5, order=3, anti_aliasing=True)


def median(image):
    return ndi.median_filter(image, size=5, mode="nearest")


def small_holes(above):
    return morphology.remove_small_holes(above, max_size=4188)


def peaks(distance, mask, radius):
    ball = morphology.ball(radius)
    return feature.peak_local_max(distance, footprint=ball, labels=mask.astype(np.uint8))


def split(mask):
    distance = ndi.distance_transform_edt(mask)
    seeds = np.zeros(mask.shape, bool)
    seeds[tuple(peaks(distance, mask, 10).T)] = True
    seeds = ndi.binary_dilation(seeds, morphology.ball(1))
    return segmentation.watershed(-distance, measure.label(seeds), mask=mask)


def holes_of_objects(labels):
    labels = labels.copy()
    for label in np.unique(labels)[1:]:
        labels[morphology.remove_small_holes(labels == label, max_size=49)] = label
    return labels


def cleanup(labels):
    labels = morphology.remove_small_objects(labels, max_size=499)
    labels[(np.bincount(labels.ravel()) > 7500)[labels]] = 0
    padded = np.pad(labels, ((1, 1), (0, 0), (0, 0)))
    labels = measure.label(segmentation.clear_border(padded)[1:-1])
    return measure.label(holes_of_objects(labels))


def chain(stack):
    smooth = median(reduce(equalise(stretch(stack))))
    return cleanup(split(small_holes(smooth > filters.threshold_otsu(smooth))))


def references(folder):
    """The reference of each step, with its input."""
    read = {file.stem: np.load(file) for file in folder.glob("*.npy") if " " not in file.stem}
    stack, reduced, mask = read["stack"], read["reduced"], read["mask"]
    distance = read["distance"].astype(np.float64)
    markers, objects = (read[name].astype(np.int32) for name in ("markers", "objects"))
    ball = morphology.ball
    return {
        "percentiles": lambda: np.percentile(stack, (0.1, 99.9)),
        "stretch": lambda: stretch(stack),
        "clahe": lambda: equalise(read["stretched"]),
        "half scale": lambda: reduce(read["equalised"]),
        "gaussian, sigma 2": lambda: ndi.gaussian_filter(reduced, 2.0),
        "median, cube of 5": lambda: median(reduced),
        "median, ball of 2": lambda: filters.median(reduced, ball(2)),
        "otsu": lambda: filters.threshold_otsu(read["smooth"]),
        "small holes": lambda: small_holes(read["above"]),
        "holes": lambda: ndi.binary_fill_holes(read["above"]),
        "erosion, ball of 5": lambda: ndi.binary_erosion(mask, ball(5), border_value=1),
        "opening, ball of 5": lambda: ndi.binary_dilation(
            ndi.binary_erosion(mask, ball(5), border_value=1), ball(5)
        ),
        "distance": lambda: ndi.distance_transform_edt(mask),
        "maxima, ball of 10": lambda: peaks(distance, mask, 10),
        "maxima, ball of 15": lambda: peaks(distance, mask, 15),
        "h-maxima": lambda: morphology.h_maxima(distance, 1.0),
        "components, seeds": lambda: measure.label(read["seeds"]),
        "components, mask": lambda: measure.label(mask),
        "watershed": lambda: segmentation.watershed(-distance, markers, mask=mask),
        "small objects": lambda: morphology.remove_small_objects(objects, max_size=499),
        "border": lambda: segmentation.clear_border(objects),
        "holes of objects": lambda: holes_of_objects(objects),
        "cleanup": lambda: cleanup(objects),
        "whole chain": lambda: chain(stack),
    }


def same(ours, theirs):
    """The share of equal elements."""
    if theirs.size != ours.size:
        return 0.0
    close = np.abs(ours.ravel().astype(np.float64) - theirs.ravel().astype(np.float64))
    limit = 2e-6 * max(1.0, float(np.abs(theirs).max(initial=0))) if theirs.dtype.kind == "f" else 0
    return float((close <= limit).mean())


def main():
    options = arguments(__doc__.splitlines()[0])
    warnings.simplefilter("ignore")
    compare("segmentation", references, same, options)


if __name__ == "__main__":
    main()
