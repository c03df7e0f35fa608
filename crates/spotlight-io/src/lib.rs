//! Microscope files and tables to volumes and back.
