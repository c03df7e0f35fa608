//! Crop and pad rules, tiles with a halo.
