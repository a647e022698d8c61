//! What can go wrong for the host program.

use std::io;
use std::net::SocketAddr;

use crate::codec::topic::TopicError;
use crate::config::{ConfigError, ListenAddress};
use crate::engine::access::edit::EditError;

/// Characters of a topic or a filter that a sentence shows.
const SHOWN: usize = 256;

/// Why a call failed. The sentence names the key, the argument or the address at fault.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A setting is wrong.
    #[error("{0}")]
    Config(#[from] ConfigError),
    /// A listener could not be bound.
    #[error("listener.{listener}.bind: {address}: {}", listen_cause(address, source))]
    Bind {
        /// The listener's name.
        listener: String,
        /// The address of the setting.
        address: ListenAddress,
        /// The system's answer.
        source: io::Error,
    },
    /// The console's address could not be bound.
    #[error("console.listen: {address}: {}", bind_cause(source))]
    BindConsole {
        /// The address of the setting.
        address: SocketAddr,
        /// The system's answer.
        source: io::Error,
    },
    /// The store cannot be used: the sentence names the file.
    #[error("storage.path: {0}")]
    Storage(String),
    /// The system refused a thread, a descriptor or memory.
    #[error("the broker could not start: {0}")]
    Start(io::Error),
    /// The system refused something to a running broker.
    #[error("{what}: {source}")]
    System {
        /// What it was asked for.
        what: &'static str,
        /// The system's answer.
        source: io::Error,
    },
    /// A Topic Name is not valid.
    #[error("topic {:?}: {cause}", beginning(topic))]
    Topic {
        /// The text that was given.
        topic: String,
        /// What is wrong with it.
        cause: TopicError,
    },
    /// A Topic Filter is not valid.
    #[error("topic filter {:?}: {cause}", beginning(filter))]
    Filter {
        /// The text that was given.
        filter: String,
        /// What is wrong with it.
        cause: TopicError,
    },
    /// An argument is out of its range.
    #[error("{argument}: {cause}")]
    Argument {
        /// The argument's name.
        argument: &'static str,
        /// What is wrong with it.
        cause: String,
    },
    /// The broker has stopped, or the subscription or queue has ended.
    #[error("the broker has stopped")]
    Stopped,
    /// A broker cannot be stopped from one of its own threads, nor can its time be moved: the call would wait for itself.
    #[error("this would wait for the callback that calls it; to stop a broker there, use request_stop")]
    InCallback,
    /// Only a broker that was started in test mode can do this.
    #[error("the broker was not started in test mode")]
    NotInTestMode,
    /// This process is a fork of the one that started the broker.
    #[error("this process was forked from the one that started the broker, whose threads do not exist here")]
    Forked,
}

impl From<EditError> for Error {
    fn from(error: EditError) -> Error {
        match error {
            EditError::Topic { topic, cause } => Error::Topic { topic, cause },
            EditError::Argument { argument, cause } => Error::Argument { argument, cause },
        }
    }
}

/// The beginning of a text that may be too long for a sentence.
fn beginning(text: &str) -> &str {
    text.char_indices().nth(SHOWN).and_then(|(end, _)| text.get(..end)).unwrap_or(text)
}

fn listen_cause(address: &ListenAddress, error: &io::Error) -> String {
    // A cause in words says more than its kind.
    match address {
        ListenAddress::Tcp(_) if error.get_ref().is_none() => bind_cause(error),
        _ => error.to_string(),
    }
}

fn bind_cause(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => "address in use".to_owned(),
        io::ErrorKind::AddrNotAvailable => "this machine has no such address".to_owned(),
        io::ErrorKind::PermissionDenied => {
            "permission denied (ports below 1024 are for privileged users)".to_owned()
        }
        _ => error.to_string(),
    }
}
