//! Floor 2: the application message, immutable and shared.

mod stored;
mod publication;

pub use stored::{Message, SharedMessage};
pub use publication::{Frame, Publication, SHARE_FROM};
