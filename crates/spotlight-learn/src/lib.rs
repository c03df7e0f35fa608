//! The F-net, the Spotlight loss, training and prediction.
