"""Times the Python originals of the metrics.

Called by `cargo bench -p spotlight-image --bench metrics -- PYTHON MIPLIB`, which writes the
images and compares. By hand: `reference_metrics.py METRIC FOLDER REPEATS`, where METRIC is
microms3im, frc or ap and FOLDER holds target.npy, prediction.npy, true_labels.npy and
predicted_labels.npy. The folder of the unpacked miplib is named by the variable MIPLIB.

Prints the shortest time in seconds, the peak of memory in bytes above what the process held after
a first run, and the score.
"""

import os
import sys
import time
import types
import warnings
from argparse import Namespace
from pathlib import Path

os.environ["TQDM_DISABLE"] = "1"
warnings.filterwarnings("ignore")

import numpy as np

BIN_DELTA = 5
SPACING_UM = 0.29
THRESHOLDS = [0.5 + 0.05 * i for i in range(10)]


def microms3im(folder):
    """MicroMS3IM of microssim: one fit to the stack, the mean score of its planes."""
    from microssim import MicroMS3IM

    target = np.load(folder / "target.npy")
    prediction = np.load(folder / "prediction.npy")

    def score():
        metric = MicroMS3IM()
        metric.fit(target, prediction)
        planes = [float(metric.score(t, p)) for t, p in zip(target, prediction)]
        return float(np.mean(planes))

    return score


def frc(folder):
    """Single-image FRC of miplib: the mean resolution of the planes, padded to squares."""
    import_miplib()
    from miplib.analysis.resolution import fourier_ring_correlation
    from miplib.data.containers.image import Image
    from miplib.processing.image import zero_pad_to_cube

    target = np.load(folder / "target.npy")
    options = Namespace(
        d_bin=BIN_DELTA,
        disable_hamming=False,
        resolution_threshold_criterion="fixed",
        resolution_threshold_value=1.0 / 7,
        resolution_snr_value=0.25,
        resolution_point_sigma=0.01,
        frc_curve_fit_degree=8,
        frc_curve_fit_type="spline",
        verbose=False,
    )

    def score():
        planes = []
        for plane in target:
            image = zero_pad_to_cube(Image(plane, [SPACING_UM] * 2))
            # The search of miplib may leave the frequencies, which ends in an error.
            try:
                result = fourier_ring_correlation.calculate_single_image_frc(image, options)
                planes.append(result.resolution["resolution"])
            except (IndexError, ValueError):
                planes.append(np.nan)
        return float(np.nanmean(planes))

    return score


def ap(folder):
    """Average precision of cubic over 10 thresholds."""
    from cubic.metrics.average_precision import average_precision

    truth = np.load(folder / "true_labels.npy")
    prediction = np.load(folder / "predicted_labels.npy")
    return lambda: float(np.mean(average_precision(truth, prediction, THRESHOLDS)[0]))


def import_miplib():
    """Makes miplib importable without the packages that its readers want."""
    import scipy.signal
    import scipy.signal.windows

    scipy.signal.tukey = scipy.signal.windows.tukey
    for name in ("SimpleITK", "pims", "jpype", "h5py", "psf"):
        sys.modules.setdefault(name, types.ModuleType(name))
    sys.path.insert(0, os.environ["MIPLIB"])


def memory(field):
    """A field of the process' status, in bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    raise KeyError(field)


def main():
    """Runs one metric."""
    name, folder, repeats = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    score = {"microms3im": microms3im, "frc": frc, "ap": ap}[name](folder)
    value = score()
    Path("/proc/self/clear_refs").write_text("5")
    before = memory("VmRSS")
    score()
    peak = max(0, memory("VmHWM") - before)
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        score()
        seconds.append(time.perf_counter() - start)
    print(min(seconds), peak, value)


main()
