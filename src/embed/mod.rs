//! Floor 7: the broker as a value in a Rust program.

mod acknowledged;
mod adopt;
mod arena;
mod broker;
mod callback;
mod error;
mod message;
mod options;
mod publish;
mod queue;
mod retained;
mod subscription;
pub mod testing;

pub use arena::{Batch, MessageView};
pub use broker::Broker;
pub use callback::CallbackSubscription;
pub use error::Error;
pub use message::Message;
pub use options::{PublishOptions, SubscribeOptions};
pub use queue::{Overflow, Poll, Queue, QueueOptions, QueueSubscription};
pub use subscription::Subscription;
