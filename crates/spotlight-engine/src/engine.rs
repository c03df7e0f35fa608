//! The threads and the instruction set that all layers use.

use std::{fmt, hint::black_box};

use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::instruction_set::{InstructionSet, UnknownInstructionSet, VARIABLE};
use crate::kernel::{peak::Peak, vector::dispatch};
use crate::precision::{self, Precision, UnknownPrecision};

/// Settings of an [`Engine`].
#[derive(Clone, Debug, Default)]
pub struct EngineOptions {
    /// Number of threads; `None` uses all cores.
    pub threads: Option<usize>,
    /// The kernels to use; `None` takes the set that the environment variable
    /// `SPOTLIGHT_INSTRUCTION_SET` names (`avx512`, `avx2`, `portable` or `exact`), or else the fastest one
    /// of this machine.
    pub instruction_set: Option<InstructionSet>,
    /// How much rounding is allowed for speed; `None` takes what the environment variable
    /// `SPOTLIGHT_PRECISION` names (`fast` or `precise`), or else `fast`.
    pub precision: Option<Precision>,
}

/// Why an [`Engine`] cannot be made.
#[derive(Debug)]
pub enum EngineError {
    /// `SPOTLIGHT_INSTRUCTION_SET` holds a word that names no instruction set.
    UnknownInstructionSet(UnknownInstructionSet),
    /// `SPOTLIGHT_PRECISION` holds a word that names no precision.
    UnknownPrecision(UnknownPrecision),
    /// The instruction set asked for does not exist on this machine.
    MissingInstructionSet(InstructionSet),
    /// The system gave no threads.
    Threads(rayon::ThreadPoolBuildError),
}

impl fmt::Display for EngineError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownInstructionSet(unknown) => unknown.fmt(formatter),
            Self::UnknownPrecision(unknown) => unknown.fmt(formatter),
            Self::MissingInstructionSet(set) => {
                let names: Vec<_> =
                    InstructionSet::available().iter().map(ToString::to_string).collect();
                write!(
                    formatter,
                    "this machine has no {set} instructions: choose one of {}",
                    names.join(", ")
                )
            }
            Self::Threads(source) => write!(formatter, "cannot start the threads: {source}"),
        }
    }
}

impl std::error::Error for EngineError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Threads(source) => Some(source),
            Self::UnknownInstructionSet(_)
            | Self::UnknownPrecision(_)
            | Self::MissingInstructionSet(_) => None,
        }
    }
}

/// The layers, on a pool of threads and one instruction set.
///
/// # Examples
///
/// A convolution whose only weight that is not zero copies its input:
///
/// ```
/// use spotlight_engine::{Activation, Engine, EngineOptions, Tensor};
///
/// let engine = Engine::new(&EngineOptions::default())?;
/// let input = Tensor::from_planar(1, 1, [1, 1, 3], &[1.0, 2.0, 3.0]);
/// let mut weights = [0.0; 27];
/// weights[13] = 1.0;
/// let inputs = [Activation { tensor: &input, normalise: None }];
/// let output = engine.conv3(&inputs, &weights, &[0.5], 1);
/// assert_eq!(output.to_planar(), [1.5, 2.5, 3.5]);
/// # Ok::<(), spotlight_engine::EngineError>(())
/// ```
#[derive(Debug)]
pub struct Engine {
    pool: ThreadPool,
    instruction_set: InstructionSet,
    precision: Precision,
}

impl Engine {
    /// Starts the threads and chooses the instruction set.
    ///
    /// # Errors
    ///
    /// If the instruction set or the precision asked for is unknown or missing on this machine,
    /// or the threads cannot be started.
    pub fn new(options: &EngineOptions) -> Result<Self, EngineError> {
        let forced = match (options.instruction_set, std::env::var(VARIABLE)) {
            (Some(set), _) => Some(set),
            (None, Ok(name)) => Some(name.parse().map_err(EngineError::UnknownInstructionSet)?),
            (None, Err(_)) => None,
        };
        let available = InstructionSet::available();
        let instruction_set = forced.unwrap_or(available[0]);
        if !available.contains(&instruction_set) && instruction_set != InstructionSet::Exact {
            return Err(EngineError::MissingInstructionSet(instruction_set));
        }
        let precision = match (options.precision, std::env::var(precision::VARIABLE)) {
            (Some(precision), _) => precision,
            (None, Ok(name)) => name.parse().map_err(EngineError::UnknownPrecision)?,
            (None, Err(_)) => Precision::default(),
        };
        let pool = ThreadPoolBuilder::new()
            .num_threads(options.threads.unwrap_or(0))
            .thread_name(|index| format!("engine-{index}"))
            .build()
            .map_err(EngineError::Threads)?;
        Ok(Self { pool, instruction_set, precision })
    }

    /// Number of threads.
    #[must_use]
    pub fn threads(&self) -> usize {
        self.pool.current_num_threads()
    }

    /// The instruction set in use.
    #[must_use]
    pub fn instruction_set(&self) -> InstructionSet {
        self.instruction_set
    }

    /// How much rounding is allowed for speed.
    #[must_use]
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// Does nothing but multiply-adds in registers, some `rounds` of them on every thread, and
    /// returns the number of floating-point operations: divided by the time, the roof of every
    /// kernel.
    #[must_use]
    pub fn multiply_adds(&self, rounds: usize) -> f64 {
        let work = |_: rayon::BroadcastContext<'_>| {
            // SAFETY: `new` has checked that the machine has the instruction set.
            let (operations, value) = unsafe { dispatch(self.instruction_set, Peak { rounds }) };
            black_box(value);
            operations
        };
        self.pool.broadcast(work).into_iter().sum()
    }

    /// Runs `work` on the engine's threads, so that rayon's parallel iterators in it use them.
    pub fn install<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        self.pool.install(work)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_are_as_asked() {
        for threads in [1, 3] {
            let options = EngineOptions { threads: Some(threads), ..EngineOptions::default() };
            let engine = Engine::new(&options).unwrap();
            assert_eq!(engine.threads(), threads);
            assert_eq!(engine.install(rayon::current_num_threads), threads);
        }
    }
}
