//! Foreground-aware 3D virtual staining: the library behind the `spotlight` program.

pub use spotlight_engine as engine;
pub use spotlight_image as image;
pub use spotlight_io as io;
pub use spotlight_learn as learn;
