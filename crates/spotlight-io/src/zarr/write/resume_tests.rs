//! Kills
