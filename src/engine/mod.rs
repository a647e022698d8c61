//! Floor 4: the whole broker without I/O, one file per verb. It is told the time and never asks for it.

pub mod acknowledge;
pub mod auth;
pub mod close;
pub mod connect;
pub mod connection;
pub mod core;
pub mod deliver;
pub mod disconnect;
pub mod expire;
pub mod explain;
pub mod local;
pub mod options;
pub mod parked;
mod proving;
pub mod publish;
mod sentence;
pub mod sessions;
pub mod stop;
pub mod subscribe;
pub mod subscriber;
pub mod sys;
pub mod taps;
pub mod timers;
pub mod turn;
pub mod unsubscribe;
pub mod view;
pub mod will;
