// SPDX-License-Identifier: MIT
//
// The allocator of pages.c in Rust: every block has pages of its own. The declarations
// are those of mlog_allocator.h.
//
//     rustc --crate-type=lib --emit=obj -C panic=abort -C relocation-model=pic -O pages.rs
//     cc -shared pages.o $(pkg-config --libs mlog-allocator) -o libpages.so
//     mlog-allocator-test ./libpages.so
//
// The first two print nothing, the third one "ok" for each promise of malloc.
#![no_std]
#![allow(non_upper_case_globals)]

use core::ffi::c_void;

#[repr(C)]
pub struct Allocator {
    version: u32,
    name: *const u8,
    allocate: unsafe extern "C" fn(usize, usize) -> *mut c_void,
    deallocate: unsafe extern "C" fn(*mut c_void),
    usable_size: unsafe extern "C" fn(*const c_void) -> usize,
    allocate_zeroed: Option<unsafe extern "C" fn(usize, usize) -> *mut c_void>,
    reallocate: Option<unsafe extern "C" fn(*mut c_void, usize) -> *mut c_void>,
    init: Option<unsafe extern "C" fn() -> i32>,
    fork_prepare: Option<unsafe extern "C" fn()>,
    fork_parent: Option<unsafe extern "C" fn()>,
    fork_child: Option<unsafe extern "C" fn()>,
    thread_exit: Option<unsafe extern "C" fn()>,
}
unsafe impl Sync for Allocator {}

extern "C" {
    fn mmap(at: *mut c_void, size: usize, protection: i32, flags: i32, fd: i32, offset: isize)
        -> *mut c_void;
    fn munmap(at: *mut c_void, size: usize) -> i32;
}

const READ_WRITE: i32 = 1 | 2;
const PRIVATE_ANONYMOUS: i32 = 2 | 0x20;

// In front of each block.
#[repr(C)]
struct Pages {
    mapping: usize,
    size: usize,
}

unsafe extern "C" fn allocate(alignment: usize, size: usize) -> *mut c_void {
    let head = core::mem::size_of::<Pages>();
    let whole = size.wrapping_add(alignment).wrapping_add(head);
    let mapping = mmap(core::ptr::null_mut(), whole, READ_WRITE, PRIVATE_ANONYMOUS, -1, 0) as usize;
    if mapping == usize::MAX {
        return core::ptr::null_mut();
    }
    let block = mapping.wrapping_add(head).wrapping_add(alignment).wrapping_sub(1)
        & !alignment.wrapping_sub(1);
    (block as *mut Pages).sub(1).write(Pages { mapping, size: whole });
    block as *mut c_void
}

unsafe extern "C" fn deallocate(block: *mut c_void) {
    let pages = (block as *mut Pages).sub(1).read();
    munmap(pages.mapping as *mut c_void, pages.size);
}

unsafe extern "C" fn usable_size(block: *const c_void) -> usize {
    let pages = (block as *const Pages).sub(1).read();
    pages.mapping.wrapping_add(pages.size).wrapping_sub(block as usize)
}

#[no_mangle]
pub static mlog_allocator: Allocator = Allocator {
    version: 1,
    name: b"pages\0".as_ptr(),
    allocate,
    deallocate,
    usable_size,
    allocate_zeroed: Some(allocate), // a new mapping is zero
    reallocate: None,
    init: None,
    fork_prepare: None,
    fork_parent: None,
    fork_child: None,
    thread_exit: None,
};

#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    loop {}
}
