//! The loss on patches that the network does not learn from.

use spotlight_engine::{Engine, Tensor};

use super::Recipe;
use crate::error::Error;
use crate::fnet::Fnet;
use crate::loss::LossTerms;
use crate::prepare::PreparedPair;
use crate::sample::{Batch, Patch, Sampler};

/// Patches of a regular grid over the held-out pairs, the same at every validation.
pub(super) struct Validation<'a> {
    sampler: Sampler<'a>,
    patches: Vec<Patch>,
}

impl<'a> Validation<'a> {
    /// Chooses the patches; none where there is no pair or the recipe asks for none.
    pub(super) fn new(pairs: &'a [PreparedPair], recipe: &Recipe) -> Result<Option<Self>, Error> {
        if pairs.is_empty() || recipe.train.validate_every == 0 {
            return Ok(None);
        }
        let sampler = Sampler::new(pairs, &recipe.sample, recipe.train.seed)?;
        let patches = sampler.grid(recipe.train.validation_patches)?;
        Ok(Some(Self { sampler, patches }))
    }

    /// The mean over the patches of the loss of each, the network in evaluation mode.
    ///
    /// The Dice loss is the mean over the patches that have one.
    pub(super) fn loss(&self, network: &Fnet, recipe: &Recipe, engine: &Engine) -> LossTerms {
        let (mut total, mut mse, mut dice) = (0.0, 0.0, Vec::new());
        for patch in &self.patches {
            let mut batch = Batch::default();
            self.sampler.copy(*patch, &mut batch);
            let input = Tensor::from_planar(1, 1, recipe.sample.patch, &batch.signal);
            let prediction = network.forward_eval(engine, &input).to_planar();
            let terms =
                engine.install(|| recipe.loss.value(1, &prediction, &batch.target, &batch.mask));
            total += terms.total;
            mse += terms.mse;
            dice.extend(terms.dice);
        }
        let count = self.patches.len() as f64;
        let mean_dice = dice.iter().sum::<f64>() / dice.len() as f64;
        let dice = (!dice.is_empty()).then_some(mean_dice);
        LossTerms { total: total / count, mse: mse / count, dice }
    }
}
