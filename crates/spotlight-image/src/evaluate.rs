//! Scores of a prediction against its target.
