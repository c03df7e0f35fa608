"""Takes the tables of `spotlight measure` through pycytominer, as a user of profiles would.

Usage: check_profiles.py FEATURES.csv FEATURES.parquet IMAGES, two tables of the same objects and
the number of images that they are of.
"""

import sys

import numpy as np
import pandas as pd
import pyarrow.parquet
from pycytominer import aggregate, feature_select, normalize
from pycytominer.cyto_utils import infer_cp_features

CELLPROFILER = [
    f"Nuclei_AreaShape_{name}"
    for name in (
        "Volume SurfaceArea MajorAxisLength MinorAxisLength Extent Solidity EulerNumber "
        "EquivalentDiameter BoundingBoxVolume"
    ).split()
]


def check_table(profiles: pd.DataFrame, images: int) -> list[str]:
    """What pycytominer takes for features and for identifiers."""
    features = infer_cp_features(profiles)
    assert features == [name for name in profiles.columns if name.startswith("Nuclei_")]
    assert set(CELLPROFILER) <= set(features), set(CELLPROFILER) - set(features)
    assert any(name.startswith("Nuclei_Intensity_") for name in features)
    assert any(name.startswith("Nuclei_Texture_") for name in features)
    assert all(profiles[name].dtype == np.float64 for name in features)
    identifiers = infer_cp_features(profiles, metadata=True)
    assert len(features) + len(identifiers) == profiles.shape[1]
    keys = ["Metadata_ImageNumber", "Metadata_ObjectNumber"]
    assert all(profiles[key].dtype == np.int64 for key in keys)
    assert not profiles.duplicated(keys).any()
    assert sorted(profiles["Metadata_ImageNumber"].unique()) == list(range(1, images + 1))
    return features


def check_steps(profiles: pd.DataFrame, features: list[str], images: int) -> str:
    """normalize, feature_select and aggregate, with what they infer by themselves."""
    normalised = normalize(profiles, method="standardize")
    assert infer_cp_features(normalised) == features
    values = normalised[features].to_numpy()
    assert values.shape == (len(profiles), len(features))
    assert np.isfinite(values).all(), "values that are not finite"
    assert np.abs(values.mean(axis=0)).max() < 1e-6, "features are not centred"

    operations = ["variance_threshold", "correlation_threshold", "drop_na_columns"]
    selected = infer_cp_features(feature_select(normalised, operation=operations))
    assert 0 < len(selected) < len(features) and set(selected) <= set(features)

    whole = aggregate(profiles, strata=["Metadata_ImageNumber"])
    assert len(whole) == images and infer_cp_features(whole) == features
    median = profiles.groupby("Metadata_ImageNumber")[features].median()
    np.testing.assert_allclose(whole[features], median)
    return f"{len(selected)} of {len(features)} features selected"


def main() -> None:
    csv, parquet, images = sys.argv[1], sys.argv[2], int(sys.argv[3])
    tables = pd.read_csv(csv), pd.read_parquet(parquet)
    pd.testing.assert_frame_equal(*tables, check_exact=True)
    schema = pyarrow.parquet.read_schema(parquet)
    assert not any(field.nullable for field in schema)
    for path, profiles in zip((csv, parquet), tables):
        features = check_table(profiles, images)
        told = check_steps(profiles, features, images)
        print(f"{path}: {len(profiles)} objects of {images} images, {told}")
    # By path, as pycytominer's users often do.
    by_path = normalize(parquet, method="standardize")
    pd.testing.assert_frame_equal(by_path, normalize(tables[1], method="standardize"))
    print("2 passed, 0 failed")


if __name__ == "__main__":
    main()
