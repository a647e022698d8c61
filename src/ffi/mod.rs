//! Floor 8: the C ABI, a thin roof over floor 7. One file is one chapter of `include/midge.h`.
//!
//! cbindgen sees nothing that a macro writes, so every function, constant and struct is spelled out. A body is
//! `guard!({ ... })`, which catches panics and turns a [`guard::Failure`] into a status and an error object.
#![allow(unsafe_code, reason = "the boundary to C")]
#![allow(non_camel_case_types, reason = "types have their C names")]
#![allow(
    clippy::missing_safety_doc,
    reason = "the contract of all functions stands at the head of the header"
)]

mod arguments;
mod broker;
mod config;
mod decision;
mod edit;
mod error;
mod guard;
mod hook_calls;
mod hooks;
mod listeners;
mod lists;
mod log;
mod message;
mod process;
mod publish;
mod queue;
mod sessions;
mod stats;
mod status;
mod storage;
mod subscribe;
mod testing;
mod tls;
#[cfg(test)]
mod tour;
mod views;
