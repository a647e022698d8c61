//! A subscription as a stream.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;

use crate::embed::message::Message;
use crate::embed::subscription::Subscription;

/// A subscription as a `Stream`, whose items are as those of [`Subscription::recv`]. Dropping it unsubscribes.
///
/// ```
/// use futures_util::StreamExt;
/// use midge::{Broker, Config, PublishOptions, SubscribeOptions};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
/// # let mut config = Config::new();
/// # config.set("listener.tcp.bind", "off")?;
/// # let broker = Broker::start(&config)?;
/// let messages = broker.subscribe("numbers", &SubscribeOptions::default())?;
/// for number in 0..10 {
///     broker.publish("numbers", number.to_string(), &PublishOptions::default())?;
/// }
/// let first: Vec<_> = messages.into_stream().take(3).map(|message| message.payload().clone()).collect().await;
/// assert_eq!(first, ["0", "1", "2"]);
/// # broker.stop_async(None).await?;
/// # Ok(()) }) }
/// ```
#[derive(Debug)]
#[must_use = "dropping it unsubscribes"]
pub struct MessageStream(Subscription);

impl Subscription {
    /// The subscription as a stream.
    pub fn into_stream(self) -> MessageStream {
        MessageStream(self)
    }
}

impl MessageStream {
    /// The subscription; no message is lost.
    pub fn into_inner(self) -> Subscription {
        self.0
    }
}

impl Stream for MessageStream {
    type Item = Message;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Message>> {
        self.0.poll_recv(context)
    }
}
