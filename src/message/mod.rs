//! Floor 2: the application message, immutable and shared.

mod lent;
mod publication;
mod stored;

pub use lent::Lent;
pub use publication::{Frame, Publication, SHARE_FROM};
pub use stored::{Message, SharedMessage};
