//! What Cellpose's network is said to take of memory, against what it takes. The engine's heap is
//! shared by the whole process, so this test has a program of its own.

#![allow(clippy::unwrap_used, reason = "a panic is how a test reports")]

use spotlight_engine::{Engine, EngineOptions, Tensor, heap_use};
use spotlight_learn::cpnet::Cpnet;

#[test]
fn the_network_takes_what_it_is_said_to() {
    let network = Cpnet::seeded(&[2, 32, 64, 128, 256], 3, 0);
    let engine = Engine::new(&EngineOptions { threads: Some(2), ..EngineOptions::default() });
    let engine = engine.unwrap();
    // The first run puts the weights into the order of the kernels.
    drop(network.forward(&engine, Tensor::zeros(6, 2, [1, 160, 160])));
    let weights = heap_use().used as u64;
    assert!(weights < network.fixed_bytes(), "{weights} bytes of weights");
    let said = network.fixed_bytes() + 6 * network.tile_bytes(160 * 160);
    let taken = heap_use().peak as u64;
    assert!(taken <= said, "{taken} bytes, {said} were said");
    let tensors = taken - weights;
    let said = 6 * network.tile_bytes(160 * 160);
    assert!(2 * tensors > said, "tensors of {tensors} bytes, {said} were said");
}
