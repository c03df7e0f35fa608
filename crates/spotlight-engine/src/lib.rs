//! Blocked tensors and the layers of 3D networks on the CPU, forward and backward.
