//! The broker as a host program has it: started and stopped in a living process, with real sockets.

mod client;
mod host;
mod lifecycle;
mod network;
mod process;
