// SPDX-License-Identifier: MIT
//
// Purpose: mlog's interface from Rust, without a crate and without linking libmlog.so: the
// functions are looked up when the program runs, and absent ones do nothing. The note makes
// the library count from the first call on, as mlog.h's does.
//
// Command:
//
//     rustc -g -o api api.rs
//     LD_PRELOAD=libmlog.so ./api 1022>api.mlog
//     mlog-analyze api.mlog --dump=text | grep '^#'
//
// Expected output: the program prints
//
//     read 1000 lines: 1 block and 8008 usable bytes more
//
// and the dump has "# MARK read" and "# PRINT 1000 lines".

use std::ffi::{CStr, CString};
use std::os::raw::{c_char, c_int, c_void};

extern "C" {
    fn dlsym(handle: *mut c_void, name: *const c_char) -> *mut c_void;
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Stats {
    flags: u64,
    allocations: u64,
    allocated: u64,
    deallocations: u64,
    deallocated: u64,
    in_use_blocks: i64,
    in_use: i64,
    peak: i64,
    peak_error: u64,
    resets: u64,
}

/// An ELF note: 5 bytes of name, 4 of text, type 1, "mlog".
#[used]
#[link_section = ".note.mlog"]
static COUNT_FROM_START: [u32; 6] = [5, 4, 1, u32::from_le_bytes(*b"mlog"), 0, 1];

fn find(name: &str) -> Option<*mut c_void> {
    let name = CString::new(name).unwrap();
    let found = unsafe { dlsym(std::ptr::null_mut(), name.as_ptr()) };
    (!found.is_null()).then_some(found)
}

struct Mlog {
    stats: Option<unsafe extern "C" fn(*mut Stats, usize) -> c_int>,
    mark: Option<unsafe extern "C" fn(c_int, *const c_char)>,
    print: Option<unsafe extern "C" fn(*const u8, usize)>,
}

impl Mlog {
    fn new() -> Mlog {
        unsafe {
            Mlog {
                stats: find("mlog_api_stats").map(|f| std::mem::transmute(f)),
                mark: find("mlog_api_mark").map(|f| std::mem::transmute(f)),
                print: find("mlog_api_print").map(|f| std::mem::transmute(f)),
            }
        }
    }

    fn stats(&self) -> Stats {
        let mut stats = Stats::default();
        if let Some(f) = self.stats {
            unsafe { f(&mut stats, std::mem::size_of::<Stats>()) };
        }
        stats
    }

    fn mark(&self, name: &CStr) {
        if let Some(f) = self.mark {
            unsafe { f(1, name.as_ptr()) };
        }
    }

    fn print(&self, text: &str) {
        if let Some(f) = self.print {
            unsafe { f(text.as_ptr(), text.len()) };
        }
    }
}

fn main() {
    let mlog = Mlog::new();
    let name = CString::new("read").unwrap();
    mlog.mark(&name);
    let before = mlog.stats();
    let lines: Vec<u64> = (0..1000).collect();
    let after = mlog.stats();
    mlog.print(&format!("{} lines", lines.len()));
    println!(
        "read {} lines: {} block and {} usable bytes more",
        lines.len(),
        after.in_use_blocks - before.in_use_blocks,
        after.in_use - before.in_use
    );
}
