//! Access rules: who may publish to and read which topics. mosquitto's `acl_file`, parsed, compiled and asked.

pub mod authority;
pub mod covering;
pub mod decision;
pub mod file;
#[cfg(test)]
mod proptests;
pub mod rule;
pub mod ruleset;
mod template;
mod tree;
