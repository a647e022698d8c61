//! Floor 2: the application message, immutable and shared.

mod host_buffer;
mod message_pool;
mod publication;
mod stored;

pub use host_buffer::HostBuffers;
pub(crate) use host_buffer::TurnMark;
pub use message_pool::MessagePool;
pub use publication::{Frame, Publication, SHARE_FROM};
pub use stored::{Message, SharedMessage};
