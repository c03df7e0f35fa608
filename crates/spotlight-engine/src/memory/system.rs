//! Zeroed memory from the system, aligned to large pages.

use std::ptr::NonNull;

use super::PAGE;

/// Bytes of a large page.
const PAGE_BYTES: usize = PAGE * size_of::<f32>();

/// `len` numbers, all zero; a multiple of [`PAGE`].
#[cfg(target_os = "linux")]
pub(super) fn take(len: usize) -> NonNull<f32> {
    // Mapped, not allocated, so that the pages stay untouched until a kernel writes them, on its
    // own thread. One page more than needed leaves room to align; what is not needed goes back.
    let bytes = len * size_of::<f32>();
    let (protection, flags) =
        (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    // SAFETY: a new mapping that nobody else knows; its parts are unmapped once, here, or wholly
    // by `give`.
    unsafe {
        let start = libc::mmap(std::ptr::null_mut(), bytes + PAGE_BYTES, protection, flags, -1, 0);
        if start == libc::MAP_FAILED {
            std::alloc::handle_alloc_error(layout(len));
        }
        let before = start.addr().next_multiple_of(PAGE_BYTES) - start.addr();
        let aligned = start.byte_add(before);
        if before > 0 {
            libc::munmap(start, before);
        }
        libc::munmap(aligned.byte_add(bytes), PAGE_BYTES - before);
        // Only advice: without large pages everything works, more slowly.
        libc::madvise(aligned, bytes, libc::MADV_HUGEPAGE);
        NonNull::new_unchecked(aligned.cast())
    }
}

/// Gives back what [`take`] gave.
#[cfg(target_os = "linux")]
pub(super) fn give(first: NonNull<f32>, len: usize) {
    // SAFETY: the whole of a mapping of `take`, which no buffer uses any more.
    unsafe {
        libc::munmap(first.as_ptr().cast(), len * size_of::<f32>());
    }
}

/// `len` numbers, all zero; a multiple of [`PAGE`].
#[cfg(not(target_os = "linux"))]
pub(super) fn take(len: usize) -> NonNull<f32> {
    let layout = layout(len);
    // SAFETY: the layout is not empty.
    let first = unsafe { std::alloc::alloc_zeroed(layout) };
    NonNull::new(first.cast()).unwrap_or_else(|| std::alloc::handle_alloc_error(layout))
}

/// Gives back what [`take`] gave.
#[cfg(not(target_os = "linux"))]
pub(super) fn give(first: NonNull<f32>, len: usize) {
    // SAFETY: the memory of `take` with its layout, which no buffer uses any more.
    unsafe { std::alloc::dealloc(first.as_ptr().cast(), layout(len)) }
}

/// `len` numbers, all zero, aligned to a cache line, for a tool that watches memory.
pub(super) fn take_plain(len: usize) -> NonNull<f32> {
    // SAFETY: the layout is not empty.
    let first = unsafe { std::alloc::alloc_zeroed(plain_layout(len)) };
    NonNull::new(first.cast()).unwrap_or_else(|| std::alloc::handle_alloc_error(plain_layout(len)))
}

/// Gives back what [`take_plain`] gave.
pub(super) fn give_plain(first: NonNull<f32>, len: usize) {
    // SAFETY: the memory of `take_plain` with its layout, which no buffer uses any more.
    unsafe { std::alloc::dealloc(first.as_ptr().cast(), plain_layout(len)) }
}

fn plain_layout(len: usize) -> std::alloc::Layout {
    let align = super::LINE * size_of::<f32>();
    std::alloc::Layout::from_size_align(len * size_of::<f32>(), align)
        .expect("a buffer is smaller than the address space")
}

fn layout(len: usize) -> std::alloc::Layout {
    std::alloc::Layout::from_size_align(len * size_of::<f32>(), PAGE_BYTES)
        .expect("a slab is smaller than the address space")
}
