//! [`Error`]: what can go wrong in this crate, split by whose fault it is.

use std::path::PathBuf;

/// Why something could not be done. Each message is one sentence.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file's fault: it ends before its content does.
    #[error("{path} is truncated: it needs {expected} bytes and has {found}", path = path.display())]
    Truncated {
        /// The file.
        path: PathBuf,
        /// Bytes that the file's own header announces.
        expected: u64,
        /// Bytes that there are.
        found: u64,
    },
    /// The file's fault: it is something else.
    #[error("{path} is not a Spotlight model: {reason}", path = path.display())]
    NotAModel {
        /// The file.
        path: PathBuf,
        /// What is missing or strange.
        reason: String,
    },
    /// The file's fault: its tensors are not those of the network.
    #[error("{path} is not a Cellpose network: {reason}", path = path.display())]
    NotCellpose {
        /// The file.
        path: PathBuf,
        /// What was expected, what was found, and what to do.
        reason: String,
    },
    /// The file's fault: it is no weight file of PyTorch.
    #[error("{path} is not a PyTorch weight file: {reason}", path = path.display())]
    NotTorch {
        /// The file.
        path: PathBuf,
        /// What is missing or strange.
        reason: String,
    },
    /// Not supported: a file of PyTorch asks for more than tensors and plain values.
    #[error(
        "{path} holds {found}, and only tensors and plain values are read from PyTorch's files, \
         as anything else could run a program: save the weights alone, with \
         torch.save(model.state_dict(), file)",
        path = path.display()
    )]
    Refused {
        /// The file.
        path: PathBuf,
        /// What it asks for.
        found: String,
    },
    /// A limit: a file asks for more than any file of its kind needs.
    #[error("{path} is refused: {reason}", path = path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// What is too large, and what is allowed.
        reason: String,
    },
    /// The file's fault: it is a model, but its parts contradict each other.
    #[error("{path} is damaged: {reason}", path = path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What contradicts what.
        reason: String,
    },
    /// The file's fault: it holds another network.
    #[error("{path} does not hold an F-net of pytorch_fnet: {reason}", path = path.display())]
    NotAnFnet {
        /// The file.
        path: PathBuf,
        /// What differs.
        reason: String,
    },
    /// Not supported: the file was written by a later program.
    #[error(
        "{path} has model format {found}, this program reads up to {supported}: update Spotlight",
        path = path.display()
    )]
    NewerFormat {
        /// The file.
        path: PathBuf,
        /// Format number of the file.
        found: u64,
        /// Latest format number that can be read.
        supported: u64,
    },
    /// The data's fault: a stack, or the two of a pair, cannot be used.
    #[error("{name}: {problem}")]
    Stack {
        /// The pair or the file.
        name: String,
        /// What is wrong and what to do.
        problem: String,
    },
    /// The data's fault: no patch, or none that was found, has enough foreground.
    #[error(
        "no patch of {patch:?} voxels (z, y, x) with at least {least} foreground voxels was \
         found in {names}, where at most {most_percent:.3} % is foreground: check the targets, \
         or lower sample.min_foreground"
    )]
    NoForeground {
        /// The pairs, shortened.
        names: String,
        /// Voxels of a patch along (z, y, x).
        patch: [usize; 3],
        /// Foreground voxels that a patch needs.
        least: usize,
        /// Foreground of the best stack, in percent.
        most_percent: f64,
    },
    /// The data's fault: what the caller reads or writes stacks with could not.
    #[error(transparent)]
    Data(Box<dyn std::error::Error + Send + Sync>),
    /// The recipe's fault: training ran away.
    #[error(
        "the loss is {loss} in iteration {iteration}: training has diverged; \
         lower train.learning_rate or check the stacks for extreme voxels"
    )]
    Diverged {
        /// The iteration, counted from 1.
        iteration: u64,
        /// The loss.
        loss: f64,
    },
    /// The file's fault: it is no checkpoint, or a damaged one.
    #[error("{path} is not a checkpoint to resume from: {reason}", path = path.display())]
    NotACheckpoint {
        /// The file.
        path: PathBuf,
        /// What is missing or strange.
        reason: String,
    },
    /// The caller's fault: a run is resumed with other settings.
    #[error(
        "{path} was made with {field} = {before} and cannot be resumed with {now}: \
         use the same recipe, or start a new run",
        path = path.display()
    )]
    OtherRecipe {
        /// The checkpoint.
        path: PathBuf,
        /// Name of the setting.
        field: String,
        /// Its value in the checkpoint.
        before: String,
        /// Its value now.
        now: String,
    },
    /// The caller's fault: a run is resumed with other stacks.
    #[error(
        "{path} was made with other stacks or another split: \
         use the same manifest, or start a new run",
        path = path.display()
    )]
    OtherData {
        /// The checkpoint.
        path: PathBuf,
    },
    /// A limit: even the smallest tile needs more memory than is allowed.
    #[error(
        "{name}: prediction needs at least {needed} bytes of memory and may use {allowed}: \
         allow more"
    )]
    Memory {
        /// The file.
        name: String,
        /// Bytes of the smallest tile and of the volumes.
        needed: u64,
        /// Bytes that may be used.
        allowed: u64,
    },
    /// A limit: what Cellpose's network says of a stack does not fit the memory that is allowed.
    #[error(
        "{name}: the flows and logits of this stack take {sums} bytes, with the network and one \
         tile {needed}, and Cellpose may use {allowed}: allow more memory, or crop the stack"
    )]
    CellposeMemory {
        /// The stack.
        name: String,
        /// Bytes of flows and logits.
        sums: u64,
        /// Bytes with the stack, the network and its smallest batch.
        needed: u64,
        /// Bytes that may be used.
        allowed: u64,
    },
    /// The caller's fault: an option has a value that makes no sense.
    #[error("{option} is {found}, it must be {expected}")]
    Option {
        /// Name of the option.
        option: &'static str,
        /// Its value.
        found: String,
        /// What it may be.
        expected: &'static str,
    },
    /// The system's fault.
    #[error("cannot {action} {path}: {source}", path = path.display())]
    Io {
        /// What was tried: "read", "write".
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}
