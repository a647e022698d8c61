//! What a session knows of its right to receive, in a broker that checks it at each delivery.

use std::sync::Arc;

use crate::session::verdicts::Verdicts;

/// The receiving client of a session.
#[derive(Debug, Default)]
pub struct Reader {
    /// The User Name of the attached or last connection.
    pub user: Option<Arc<str>>,
    /// Whether it may receive messages of a topic.
    pub verdicts: Verdicts<bool>,
}

impl Reader {
    /// A client with this User Name.
    pub fn new(user: Option<Arc<str>>) -> Reader {
        Reader { user, ..Reader::default() }
    }
}
