//! The part in C, for the program; the programs of docs/rust.md, which use no more than what is public.

use std::ffi::c_int;

// The functions that the part in C calls.
use midge as _;

unsafe extern "C" {
    /// Of part.c: 1 if all is right.
    safe fn part_is_right() -> c_int;
}

/// Whether the part in C finds the library and its header, both of one version.
pub fn is_right() -> bool {
    part_is_right() == 1
}

#[cfg(doctest)]
#[doc = include_str!("../../../../docs/rust.md")]
struct Rust;
