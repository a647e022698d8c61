//! Floor 2: the application message, immutable and shared.

mod message;
mod publication;

pub use message::{Message, SharedMessage};
pub use publication::{Frame, Publication, SHARE_FROM};
