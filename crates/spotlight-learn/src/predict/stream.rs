//! Stains a stack that need not fit in memory, box by box.
//!
//! The values are those of [`Predictor::predict`], but for rounding: tiles begin where the network
//! halves the grid of the whole stack and see as much around them as the network looks, boxes are
//! zoomed with all the voxels a spline feels, and the mean and the standard deviation are those of
//! the whole stack. Each box depends on the stack and the options alone, not on those before it: a
//! stack that is stained in two goes has the same bytes as one stained in one.

mod image;

use spotlight_engine::Engine;
use spotlight_image::resample::{Order, zoom_part, zoom_source};
use spotlight_image::tile::Tile;
use spotlight_image::{Region, Shape, Volume};

pub(super) use image::SLAB;
use image::{Image, moments};

use super::fit::Fit;
use super::levels::{self, Levels, Planes, coarser, finer};
use super::plan::{self, Budget, up_halo};
use super::stream_plan::{self, Scene, StreamPlan};
use super::{OutputGrid, PredictOptions, Predictor, ZoomBack, fixed_bytes, grid_spacing};
use crate::error::Error;
use crate::model_file::Ranges;
use crate::prepare::model_shape;

/// Tiles of one value that are remembered: along a row, the first, those inside and the last.
pub(super) const KNOWN_TILES: usize = 3;

/// A stack that is read box by box.
pub trait SignalSource: Sync {
    /// How errors name it.
    fn name(&self) -> &str;

    /// Voxel size in µm along (z, y, x), where it is known.
    fn spacing_um(&self) -> Option<[f64; 3]>;

    /// Number of voxels along (z, y, x).
    fn shape(&self) -> Shape;

    /// Voxels along (z, y, x) that are read together: boxes of whole multiples waste nothing.
    fn block(&self) -> Shape;

    /// The voxels of a box of every channel of the model, as they were measured.
    ///
    /// # Errors
    ///
    /// If they cannot be read: [`Error::Data`].
    fn read(&self, region: Region) -> Result<Vec<Volume<f32>>, Error>;
}

/// Where a stain goes, box by box.
pub trait StainSink {
    /// Voxels along (z, y, x) of what is written at once; the last along an axis may be smaller.
    fn unit(&self) -> Shape;

    /// Whether a unit has been written already, perhaps by a run before this one.
    fn is_done(&self, unit: Region) -> bool;

    /// Takes a unit of every channel of the stain. Units come in raster order where each of them
    /// covers the stack along y and x.
    ///
    /// # Errors
    ///
    /// If it cannot be written: [`Error::Data`].
    fn write(&mut self, unit: Region, stain: Vec<Volume<f32>>) -> Result<(), Error>;
}

/// What a stain will be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StainGrid {
    /// Number of voxels along (z, y, x).
    pub shape: Shape,
    /// Voxel size in µm along (z, y, x), where that of the input is known.
    pub spacing_um: Option<[f64; 3]>,
}

impl Predictor {
    /// The grid of the stain of a stack; `name` is how errors name it.
    ///
    /// # Errors
    ///
    /// If its voxel size is needed and not known.
    pub fn stain_grid(
        &self,
        input: Shape,
        spacing_um: Option<[f64; 3]>,
        name: &str,
        options: &PredictOptions,
    ) -> Result<StainGrid, Error> {
        let model = model_shape(input, spacing_um, self.to_um(options), name)?;
        let shape = if options.grid == OutputGrid::Input { input } else { model };
        let spacing_um = spacing_um.map(|spacing| grid_spacing(spacing, input, shape));
        Ok(StainGrid { shape, spacing_um })
    }

    /// Stains a stack box by box, and tells in how many tiles a box was computed.
    ///
    /// Arguments as for [`Predictor::predict`]. Memory is kept to by smaller boxes and tiles; what
    /// source and sink hold for themselves is not counted, but for one box.
    ///
    /// # Errors
    ///
    /// As [`Predictor::predict`], and those of source and sink.
    ///
    /// # Panics
    ///
    /// If the source gives other channels than the model has, or the fit is [`Fit::Crop`].
    pub fn predict_boxes(
        &self,
        engine: &Engine,
        source: &dyn SignalSource,
        sink: &mut dyn StainSink,
        options: &PredictOptions,
        progress: &mut dyn FnMut(usize, usize),
    ) -> Result<usize, Error> {
        assert!(options.fit != Fit::Crop, "a stack is stained in boxes without cropping");
        let ranges = self.ranges(options)?;
        let (name, spacing_um) = (source.name(), source.spacing_um());
        let network = &self.model.network;
        let input = source.shape();
        if input.contains(&0) {
            let problem = "the signal has no voxels".to_owned();
            return Err(Error::Stack { name: name.to_owned(), problem });
        }
        let model = model_shape(input, spacing_um, self.to_um(options), name)?;
        let output = if options.grid == OutputGrid::Input { input } else { model };
        let multiple = network.options.divisor();
        let fitted = model.map(|length| length.next_multiple_of(multiple));
        let scene = Scene { input, model, fitted, output, unit: sink.unit() };
        let fixed = fixed_bytes(network);
        let bytes = options.memory_bytes.saturating_sub(fixed);
        let plan = stream_plan::plan(&network.options, &scene, bytes).map_err(|least| {
            let allowed = options.memory_bytes;
            Error::Memory { name: name.to_owned(), needed: fixed + least, allowed }
        })?;
        let moments = moments(source, network.options.in_channels, bytes)?;
        let image = Image { source, scene, moments, fit: options.fit };
        let fixed = network.fixed(false);
        let levels = Levels::of(&fixed, &network.options, engine, plan.cut);
        let boxes = Boxes { predictor: self, engine, options, ranges, image, levels, plan };
        boxes.stain(sink, progress)
    }
}

/// A stack on its way to its stain.
struct Boxes<'a> {
    predictor: &'a Predictor,
    engine: &'a Engine,
    options: &'a PredictOptions,
    ranges: Option<Ranges>,
    image: Image<'a>,
    levels: Levels<'a>,
    plan: StreamPlan,
}

impl Boxes<'_> {
    fn stain(
        &self,
        sink: &mut dyn StainSink,
        progress: &mut dyn FnMut(usize, usize),
    ) -> Result<usize, Error> {
        let Scene { output, unit, .. } = self.image.scene;
        let is_open = |sink: &dyn StainSink, region: &Region| {
            region.blocks(unit).any(|unit| !sink.is_done(unit))
        };
        let mut boxes = self.plan.boxes(output);
        boxes.retain(|region| is_open(sink, region));
        let tiles: usize = self.plan.cuts.iter().product();
        if boxes.is_empty() {
            return Ok(tiles);
        }
        let [down, deep, of_box] = self.plan.work;
        let (mut done, all) = (0, down + deep + of_box * boxes.len());
        let mut tell = |work: usize| {
            done += work;
            progress(done, all);
        };
        let below = if self.levels.needs_below() { Some(self.below(&mut tell)?) } else { None };
        let mut known = Vec::new();
        for region in boxes {
            let stain = self.stain_box(region, below.as_ref(), &mut known, &mut tell)?;
            for unit in region.blocks(unit) {
                if !sink.is_done(unit) {
                    let within = unit.seen_from(region);
                    sink.write(unit, stain.iter().map(|volume| volume.crop(within)).collect())?;
                }
            }
        }
        Ok(tiles)
    }

    /// The output of the level of the cut.
    fn below(&self, tell: &mut dyn FnMut(usize)) -> Result<Planes, Error> {
        let plan = &self.plan;
        let mut below = self.levels.empty(plan.down.shape);
        let mut known = Vec::new();
        for tile in plan.down.all() {
            let region = finer(tile.input, plan.cut);
            let image = self.image.read(region)?;
            let core = tile.core_in_input();
            let part = self.once(&mut known, region, core, image, None, |image| {
                self.levels.down(image.tensor(Region::whole(image.shape)))
            });
            below.paste_part(&part, [0; 3], &tile.core);
            tell(plan.work[0] / plan.down.count());
        }
        let deep = self.levels.deep(below);
        tell(plan.work[1]);
        Ok(deep)
    }

    /// The stain of a box of the output.
    fn stain_box(
        &self,
        region: Region,
        below: Option<&Planes>,
        known: &mut Vec<Known>,
        tell: &mut dyn FnMut(usize),
    ) -> Result<Vec<Volume<f32>>, Error> {
        let Scene { model, fitted, output, .. } = self.image.scene;
        let zoomed = model != output;
        let wanted = if zoomed { zoom_source(model, output, region, Order::Cubic) } else { region };
        let before = Fit::before(model, fitted);
        let mut whole =
            Planes::zeros(self.predictor.model.network.options.out_channels, wanted.shape);
        let tiles: usize = self.plan.cuts.iter().product();
        for core in pieces(wanted, self.plan.cuts) {
            let on_fitted = Region {
                start: std::array::from_fn(|axis| core.start[axis] + before[axis]),
                shape: core.shape,
            };
            let tile = self.tile(on_fitted);
            let image = self.image.read(tile.input)?;
            let within = tile.core_in_input();
            let part = self.once(known, tile.input, within, image, below, |image| match below {
                None => self.alone(image),
                below => self.levels.up(image.tensor(Region::whole(image.shape)), below, &tile),
            });
            whole.paste_part(&part, [0; 3], &core.seen_from(wanted));
            tell(self.plan.work[2] / tiles);
        }
        let finish = |stain| {
            let zoom_back =
                |stain: &Volume<f32>| zoom_part(stain, model, output, region, Order::Cubic);
            let zoom_back: Option<&ZoomBack<'_>> = if zoomed { Some(&zoom_back) } else { None };
            self.predictor.finish(stain, zoom_back, self.ranges, self.options)
        };
        Ok(whole.split().into_iter().map(finish).collect())
    }

    /// The stain of a tile that is a stack by itself, in tiles of its own where memory asks for it.
    fn alone(&self, image: Planes) -> Planes {
        let network = &self.predictor.model.network;
        let plan = |bytes| plan::plan(&network.options, image.shape, Budget { bytes, volumes: 0 });
        // Tiles at the edge are smaller than those that were planned with.
        let plan = plan(self.plan.left).or_else(plan).expect("the least memory suffices");
        levels::run(network, self.engine, image, &plan, &mut |_, _| {})
    }

    /// The tile with a core: what the network looks at around it, from multiples to multiples.
    fn tile(&self, core: Region) -> Tile {
        let options = &self.predictor.model.network.options;
        let halo = up_halo(options, self.plan.cut);
        let multiple = 1 << self.plan.cut.min(options.depth);
        let fitted = self.image.scene.fitted;
        let start = core.start.map(|start| start.saturating_sub(halo) / multiple * multiple);
        let stop: Shape = std::array::from_fn(|axis| {
            (core.stop()[axis] + halo).next_multiple_of(multiple).min(fitted[axis])
        });
        let shape = std::array::from_fn(|axis| stop[axis] - start[axis]);
        Tile { input: Region { start, shape }, core }
    }

    /// What the network makes of the core of a tile. Large stores are mostly empty: of tiles of one
    /// value, those that are alike are computed once.
    fn once(
        &self,
        known: &mut Vec<Known>,
        region: Region,
        core: Region,
        image: Planes,
        below: Option<&Planes>,
        compute: impl FnOnce(Planes) -> Planes,
    ) -> Planes {
        let fitted = self.image.scene.fitted;
        let kind = image.uniform_values().and_then(|image| {
            let below = match below {
                None => Vec::new(),
                Some(below) => below.crop(coarser(region, self.plan.cut)).uniform_values()?,
            };
            let edges = std::array::from_fn(|axis| {
                [region.start[axis] == 0, region.stop()[axis] == fitted[axis]]
            });
            Some(Kind { shape: region.shape, core, edges, image, below })
        });
        if let Some(same) = known.iter().find(|known| Some(&known.kind) == kind.as_ref()) {
            return same.output.clone();
        }
        let output = compute(image).crop(core);
        if let Some(kind) = kind {
            if known.len() == KNOWN_TILES {
                known.remove(0);
            }
            known.push(Known { kind, output: output.clone() });
        }
        output
    }
}

/// A tile of one value that has been computed.
struct Known {
    kind: Kind,
    output: Planes,
}

/// All that decides what comes out of a tile of one value.
#[derive(PartialEq)]
struct Kind {
    shape: Shape,
    core: Region,
    /// Which sides lie at the edge of the stack.
    edges: [[bool; 2]; 3],
    /// The value of each channel of the image and of the output of the level of the cut.
    image: Vec<f32>,
    below: Vec<f32>,
}

/// A box in so many pieces along each axis, about equally large.
fn pieces(region: Region, cuts: [usize; 3]) -> Vec<Region> {
    let step = std::array::from_fn(|axis| region.shape[axis].div_ceil(cuts[axis]).max(1));
    region.blocks(step).collect()
}

#[cfg(test)]
mod tests;
