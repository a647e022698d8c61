//! Floor 4: the whole broker without input and output; it is told the time and never asks for it.

pub mod wheel;
