//! tmp
#![allow(clippy::print_stdout, clippy::unwrap_used, missing_docs)]
use spotlight_engine::*;
use std::time::Instant;
fn main() {
    let engine = Engine::new(&EngineOptions::default()).unwrap();
    let t0 = Instant::now();
    let n = engine.multiply_adds(20_000_000);
    println!("peak {:.0}", n / t0.elapsed().as_secs_f64() / 1e9);
    for level in 0..4 {
        let (c, s) = (32 << level, [32 >> level, 64 >> level, 64 >> level]);
        let v: usize = s.iter().product();
        let x = Tensor::from_planar(2, c, s, &(0..2 * c * v).map(|i| (i % 7) as f32).collect::<Vec<_>>());
        let w = vec![0.01; c * c * 8];
        let b = vec![0.0; c];
        let inp = [Activation { tensor: &x, normalise: None }];
        let law = ScaleShift { scale: vec![1.0; c], shift: vec![0.0; c] };
        let down = FixedConvolution::new(Kind::Down, &w, &b, Some(&law), true);
        let y = engine.fixed(&inp, &down);
        let c2 = Tensor::from_planar(2, 2 * c, s.map(|a| a / 2), &(0..2 * 2 * c * v / 8).map(|i| (i % 7) as f32).collect::<Vec<_>>());
        let wu = vec![0.01; 2 * c * c * 8];
        let up = FixedConvolution::new(Kind::Up, &wu, &b, Some(&law), true);
        let inu = [Activation { tensor: &c2, normalise: None }];
        let _ = engine.fixed(&inu, &up);
        let time = |f: &dyn Fn()| { let mut best = f64::INFINITY; for _ in 0..10 { let t = Instant::now(); f(); best = best.min(t.elapsed().as_secs_f64()); } best };
        let td = time(&|| drop(engine.fixed(&inp, &down)));
        let tu = time(&|| drop(engine.fixed(&inu, &up)));
        let fl = 2.0 * (c * c * 2 * v) as f64;
        println!("level {level} down {:.2} ms {:.0} GF/s   up {:.2} ms {:.0} GF/s", td * 1e3, fl / td / 1e9, tu * 1e3, 2.0 * fl / tu / 1e9);
        drop(y);
    }
}
