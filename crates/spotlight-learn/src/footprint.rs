//! What the run of any network takes of memory: the process, and the engine's tensors.

use spotlight_engine::tensor::BLOCK;

/// The program, its libraries, and what the allocator holds back.
const PROGRAM_BYTES: u64 = 32 << 20;

/// What a thread takes for itself: the engine's transformed tiles, and buffers for strips of files.
const THREAD_BYTES: u64 = 4 << 20;

/// The threads of a usual machine. Tiles must not depend on how many there are.
const THREADS: u64 = 16;

/// The engine's heap may have holes that nothing fits into: up to this much more than is used.
const LONGER_BUFFERS: (u64, u64) = (9, 8);

/// Bytes of a number.
pub(crate) const FLOAT: u64 = size_of::<f32>() as u64;

/// The program with its threads.
pub(crate) const PROCESS_BYTES: u64 = PROGRAM_BYTES + THREADS * THREAD_BYTES;

/// Bytes of a tensor of the engine.
pub(crate) fn tensor(channels: usize, voxels: u64) -> u64 {
    FLOAT * padded(channels) * voxels
}

/// Channels as the engine stores them: whole blocks.
pub(crate) fn padded(channels: usize) -> u64 {
    channels.next_multiple_of(BLOCK) as u64
}

/// Bytes of the heap for tensors of so many bytes.
pub(crate) fn longer(bytes: u64) -> u64 {
    bytes / LONGER_BUFFERS.1 * LONGER_BUFFERS.0
}
