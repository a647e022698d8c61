//! SUBSCRIBE and UNSUBSCRIBE, from clients and from the host.

mod local;
pub mod receive;
mod retained;
pub mod review;
pub mod unsubscribe;
