//! The network forwards, tensor by tensor.

use spotlight_engine::{Activation, Engine, PlaneConvolution, Planes, ScaleShift, Tensor};

use super::{Cpnet, Down, StyledUnit, Unit, Up};

impl Cpnet {
    /// Flows and logits of a batch of tiles, (tile, channel, 1, y, x), and the style of each tile,
    /// (tile, feature).
    ///
    /// # Panics
    ///
    /// If the tiles have another depth than 1, other channels than the network, or a side that is
    /// no multiple of [`Cpnet::divisor`].
    #[must_use]
    pub fn forward(&self, engine: &Engine, tiles: Tensor) -> (Tensor, Vec<f32>) {
        self.decode(engine, self.encode(engine, tiles))
    }

    /// The features of every level of the encoder, from the top down.
    ///
    /// # Panics
    ///
    /// As [`Cpnet::forward`].
    #[must_use]
    pub fn encode(&self, engine: &Engine, tiles: Tensor) -> Vec<Tensor> {
        let [depth, height, width] = tiles.shape();
        assert_eq!(tiles.channels(), self.widths[0], "channels of the tiles");
        assert_eq!(depth, 1, "tiles are planes");
        let divisor = self.divisor();
        let fits = height % divisor == 0 && width % divisor == 0;
        assert!(fits, "sides {height} and {width} are multiples of {divisor}");
        let (top, deeper) = self.down.split_first().expect("a network has levels");
        let mut features = vec![top.forward(engine, &tiles)];
        drop(tiles);
        for (above, level) in deeper.iter().enumerate() {
            let halved = engine.max_pool_planes(&features[above]);
            features.push(level.forward(engine, &halved));
        }
        features
    }

    /// Flows and logits, and styles, from the features of the encoder.
    ///
    /// # Panics
    ///
    /// If the features are not those of [`Cpnet::encode`].
    #[must_use]
    pub fn decode(&self, engine: &Engine, mut features: Vec<Tensor>) -> (Tensor, Vec<f32>) {
        assert_eq!(features.len(), self.up.len(), "features of every level");
        let deepest = features.last().expect("a network has levels");
        let styles = unit_length(&engine.sample_means(deepest), self.style_len());
        let mut x = deepest.clone();
        let mut doubled = false;
        for level in self.up.iter().rev() {
            let skip = features.pop().expect("features of every level");
            x = level.forward(engine, x, doubled, skip, &styles);
            doubled = true;
        }
        (self.output.forward(engine, &x), styles)
    }
}

/// Each row of `len` numbers divided by its length.
pub(super) fn unit_length(means: &[f64], len: usize) -> Vec<f32> {
    let mut styles = Vec::with_capacity(means.len());
    for means in means.chunks_exact(len) {
        let length = means.iter().map(|mean| mean * mean).sum::<f64>().sqrt();
        styles.extend(means.iter().map(|mean| (mean / length) as f32));
    }
    styles
}

impl Down {
    fn forward(&self, engine: &Engine, x: &Tensor) -> Tensor {
        let [a, b, c, d] = &self.units;
        let mut sum = engine.convolve_planes(&plain(x, false), &self.project);
        b.add(engine, &a.forward(engine, x), &mut sum);
        let inner = c.forward(engine, &sum);
        d.add(engine, &inner, &mut sum);
        sum
    }
}

impl Up {
    /// `x` has half the size of `skip` if it is to be doubled.
    fn forward(
        &self,
        engine: &Engine,
        x: Tensor,
        doubled: bool,
        mut skip: Tensor,
        styles: &[f32],
    ) -> Tensor {
        let [b, c, d] = &self.styled;
        let read = Planes { doubled, ..self.first.read(&x, &self.first.law) };
        engine.add_convolved_planes(&read, &self.first.convolution, &mut skip);
        let mut sum = engine.convolve_planes(&plain(&x, doubled), &self.project);
        drop(x);
        b.add(engine, &skip, styles, &mut sum);
        drop(skip);
        let inner = c.forward(engine, &sum, styles);
        d.add(engine, &inner, styles, &mut sum);
        sum
    }
}

fn plain(tensor: &Tensor, doubled: bool) -> Planes<'_> {
    Planes { activation: Activation { tensor, normalise: None }, doubled }
}

impl Unit {
    fn read<'a>(&'a self, tensor: &'a Tensor, law: &'a ScaleShift) -> Planes<'a> {
        Planes { activation: Activation { tensor, normalise: Some(law) }, doubled: false }
    }

    fn forward(&self, engine: &Engine, x: &Tensor) -> Tensor {
        engine.convolve_planes(&self.read(x, &self.law), &self.convolution)
    }

    fn add(&self, engine: &Engine, x: &Tensor, sum: &mut Tensor) {
        engine.add_convolved_planes(&self.read(x, &self.law), &self.convolution, sum);
    }
}

impl StyledUnit {
    /// The normalisation of `x` plus what the style says to each channel: another shift for every
    /// tile.
    fn law(&self, styles: &[f32]) -> ScaleShift {
        let (law, channels) = (&self.unit.law, self.bias.len());
        let len = self.weights.len() / channels;
        let mut shift = Vec::with_capacity(styles.len() / len * channels);
        for style in styles.chunks_exact(len) {
            for (channel, weights) in self.weights.chunks_exact(len).enumerate() {
                let products = weights.iter().zip(style);
                let products = products.map(|(w, s)| f64::from(*w) * f64::from(*s));
                let told = f64::from(self.bias[channel]) + products.sum::<f64>();
                let scale = f64::from(law.scale[channel]);
                shift.push((f64::from(law.shift[channel]) + scale * told) as f32);
            }
        }
        ScaleShift { scale: law.scale.clone(), shift }
    }

    fn convolution(&self) -> &PlaneConvolution {
        &self.unit.convolution
    }

    fn forward(&self, engine: &Engine, x: &Tensor, styles: &[f32]) -> Tensor {
        let law = self.law(styles);
        engine.convolve_planes(&self.unit.read(x, &law), self.convolution())
    }

    fn add(&self, engine: &Engine, x: &Tensor, styles: &[f32], sum: &mut Tensor) {
        let law = self.law(styles);
        engine.add_convolved_planes(&self.unit.read(x, &law), self.convolution(), sum);
    }
}
