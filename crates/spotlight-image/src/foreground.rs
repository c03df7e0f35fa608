//! Where the cells are: Otsu's threshold and the mask above it.
