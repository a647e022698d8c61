//! SUBSCRIBE and UNSUBSCRIBE, from clients and from the host.

mod local;
pub mod receive;
pub mod unsubscribe;
