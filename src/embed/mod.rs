//! Floor 7: the broker as a value in a Rust program.

mod access;
mod acknowledged;
mod adopt;
mod arena;
mod asynchronous;
mod backup;
mod broker;
mod builder;
mod callback;
mod certificates;
mod console;
mod error;
mod hooks;
mod listeners;
mod message;
mod openness;
mod options;
mod publish;
mod queue;
mod queue_core;
mod retained;
mod sessions;
mod shared;
mod start;
mod stop;
mod storage;
#[cfg(feature = "durable")]
mod store_view;
mod stream;
mod subscription;
mod tasks;
pub mod testing;

pub use adopt::AdoptOptions;
pub use arena::{Batch, MessageView};
pub use broker::Broker;
pub use builder::BrokerBuilder;
pub use callback::CallbackSubscription;
pub use error::Error;
pub(crate) use hooks::Log;
pub use hooks::{Hooks, defer};
pub use message::Message;
pub use options::{PublishOptions, SubscribeOptions};
pub use queue::{Queue, QueueOptions, QueueSubscription};
pub use queue_core::{Overflow, Polled};
pub use stream::MessageStream;
pub use subscription::Subscription;

pub use crate::engine::access::edit::{Edit, EditError, Original};
pub use crate::engine::access::hooks::{
    AccessRequest, Action, Answer, ConnectRequest, Decision, Deferred, Passage, Verdict,
};
pub use crate::net::{Connections, ListenerState, ListenerView};
pub use crate::session::event::{
    Arrival, Delivered, Departure, Dropped, Level, LogLine, Subscribed, Unsubscribed,
};
pub use crate::session::link::Cause;
