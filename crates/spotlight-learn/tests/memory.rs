//! After the first steps, a training step asks no memory of the system.
//!
//! Alone in its file, and so in its process: the heap of the engine is one for all.

#![allow(clippy::unwrap_used, reason = "a panic is how a test reports")]

use spotlight_engine::{Engine, EngineOptions, Tensor, heap_use};
use spotlight_learn::fnet::{Fnet, FnetOptions};

#[test]
fn a_step_allocates_nothing() {
    let options = EngineOptions { threads: Some(2), ..EngineOptions::default() };
    let engine = Engine::new(&options).unwrap();
    let mut network = Fnet::new(&FnetOptions { width: 16, depth: 2, ..Default::default() }, 0);
    let mut gradients = vec![0.0; network.parameters.len()];
    let mut step = || {
        let image = Tensor::from_planar(2, 1, [16, 32, 32], &vec![0.5; 2 * 16 * 32 * 32]);
        let (output, trace) = network.forward_train(&engine, image);
        network.backward(&engine, trace, output, &mut gradients);
        heap_use()
    };
    // Which buffers live together hangs a little on how the threads run.
    let settled = (0..4).map(|_| step()).last().unwrap();
    for _ in 0..6 {
        assert_eq!(step().requests, settled.requests, "{settled:?}, now {:?}", heap_use());
    }
    assert!(settled.reserved < 2 * settled.peak, "{settled:?}");
}
