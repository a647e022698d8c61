//! Floor 1: the settings of a broker, from one table.

pub mod error;
pub mod kind;
pub mod proxy_protocol;
pub mod rights;
mod secret;
pub mod settings;
pub mod table;

mod access;
mod address;
mod configuration;
mod console;
mod define;
mod document;
mod load;
mod nearest;

mod text;
mod tls;
mod transport;
mod value;

pub(crate) use access::AuthorityName;
pub use address::ListenAddress;
pub use configuration::Config;
pub use document::markdown;
pub use error::{ConfigError, ErrorKind};
pub use kind::{Kind, Limits};
pub use proxy_protocol::ProxyProtocol;
pub use rights::{LostRights, SubscribeCheck};
pub use secret::Secret;
pub use settings::{Anonymous, Listener, OnDamage, OtherUser, QueueOverflow, Settings, StorageSync};
pub use table::{Setting, table};
pub use tls::ClientCertificates;
pub(crate) use tls::check_listener;
#[cfg(feature = "tls")]
pub(crate) use tls::names;
pub use transport::Transport;
