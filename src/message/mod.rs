//! Floor 2: the application message, immutable and shared.

mod lent;
mod publication;
mod spares;
mod stored;

pub use lent::Lent;
pub use publication::{Frame, Publication, SHARE_FROM};
pub use spares::Spares;
pub use stored::{Message, SharedMessage};
