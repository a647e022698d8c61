//! Floor 2: the application message, immutable and shared.

mod publication;
mod stored;

pub use publication::{Frame, Publication, SHARE_FROM};
pub use stored::{Message, SharedMessage};
