//! SUBSCRIBE and UNSUBSCRIBE, from clients and from the host.

pub mod receive;
pub mod unsubscribe;
