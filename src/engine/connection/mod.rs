//! A network connection from CONNECT to its end, and the session that it is attached to.

mod arrival;
mod auth;
mod authenticating;
pub mod close;
pub mod connect;
pub mod disconnect;
pub mod expire;
pub mod manage;
mod packets;
mod reason_string;
mod refuse;
mod restore;
pub mod state;
pub mod stop;
