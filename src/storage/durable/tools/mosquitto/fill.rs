//! A store that is filled with what the file holds.

use std::io::BufRead;

use crate::codec::qos::QoS;
use crate::codec::topic::{TopicFilter, TopicName};
use crate::storage::durable::tools::builder::{
    Builder, CONFIRMED, IN_STORE, Imported, NewDelivery, Refusal, SharedMessages,
};
use crate::storage::durable::tools::import::ImportError;
use crate::storage::durable::tools::mosquitto::content::{
    Client, ClientMessage, Content, Message, Subscription, state,
};
use crate::storage::{DeliveryRecord, MessageRecord, SessionChange};
use crate::time::WallTime;

/// Makes the store from the file.
pub(in super::super) fn import(
    builder: Builder<'_>,
    file: &mut dyn BufRead,
    now: WallTime,
) -> Result<Imported, ImportError> {
    let content = Content::read(file)?;
    let offset = content.end;
    let mut filling = Filling { builder, content, now, shared: SharedMessages::new() };
    filling.fill().map_err(|refusal| match refusal {
        Refusal::Wrong(wrong) => {
            ImportError::Mosquitto { offset, what: format!("{}: {}", wrong.field, wrong.what) }
        }
        Refusal::Store(error) => ImportError::Store(error),
    })?;
    Ok(filling.builder.finish()?)
}

/// A store that is filled with the content.
struct Filling<'d> {
    builder: Builder<'d>,
    content: Content,
    now: WallTime,
    /// Messages that the store has already, by their numbers.
    shared: SharedMessages<()>,
}

impl Filling<'_> {
    fn fill(&mut self) -> Result<(), Refusal> {
        let clients = std::mem::take(&mut self.content.clients);
        // A session that ends with its connection has ended.
        let (kept, gone): (Vec<_>, Vec<_>) =
            clients.into_iter().partition(|client| client.expiry_interval != 0);
        for client in &gone {
            let messages = client.window.len() + client.queue.len() + client.received.len();
            self.builder.imported.left_out += client.left_out + messages as u64;
        }
        for client in &kept {
            self.session(client)?;
        }
        for client in &kept {
            for received in client.received.iter().filter(|received| received.state != state::RESEND_PUBCOMP)
            {
                self.publish(received.message, &kept)?;
            }
        }
        for number in std::mem::take(&mut self.content.retained) {
            self.retain(number)?;
        }
        Ok(())
    }

    fn retain(&mut self, number: u64) -> Result<(), Refusal> {
        match self.content.messages.get(&number) {
            Some(message) => self.builder.retained(&record(message, self.now, true)),
            None => {
                self.builder.imported.left_out += 1;
                Ok(())
            }
        }
    }

    fn session(&mut self, client: &Client) -> Result<(), Refusal> {
        let Client { client_id, expiry_interval, .. } = client;
        self.builder.session(client_id, *expiry_interval, None)?;
        for Subscription { filter, options, identifier } in &client.subscriptions {
            let (options, identifier) = (*options, *identifier);
            let change = SessionChange::Subscribed { filter, options, identifier };
            self.builder.change(client_id, change, "subscription")?;
        }
        for entry in client.window.iter().chain(&client.queue) {
            self.deliver(client_id, entry)?;
        }
        for packet_id in client.received.iter().filter_map(|entry| entry.packet_id) {
            self.builder.change(client_id, SessionChange::Received { packet_id }, "received")?;
        }
        if let Some(at) = client.detached_at {
            let change = SessionChange::Detached { expiry_interval: *expiry_interval };
            self.builder.change_at(at, client_id, change, "session_expiry_time")?;
        }
        self.builder.imported.left_out += client.left_out;
        Ok(())
    }

    fn deliver(&mut self, client_id: &str, entry: &ClientMessage) -> Result<(), Refusal> {
        let ClientMessage { message: number, packet_id, qos, state, retain, identifiers } = entry;
        let packet_id = packet_id.filter(|_| *state != state::QUEUED);
        let confirmed = matches!(*state, state::RESEND_PUBREL | state::WAIT_FOR_PUBCOMP);
        let (shared, message) = match self.content.messages.get(number) {
            _ if confirmed => (None, CONFIRMED),
            None => (None, IN_STORE),
            Some(message) if message.deliveries < 2 => (None, record(message, self.now, message.retain)),
            Some(message) => {
                self.shared.put(*number, ());
                match self.shared.take(*number) {
                    Some((place, Some(()))) => (Some(place), record(message, self.now, message.retain)),
                    taken => (taken.map(|(place, _)| place), IN_STORE),
                }
            }
        };
        let record = DeliveryRecord { message, qos: *qos, retain: *retain, identifiers, share: None };
        self.builder.delivery(&NewDelivery { client_id, record, shared, packet_id, confirmed })
    }

    /// Publishes a QoS 2 message that its publisher has not released: mosquitto waits for that, a Midge does not.
    fn publish(&mut self, number: u64, clients: &[Client]) -> Result<(), Refusal> {
        let Some(message) = self.content.messages.get(&number) else {
            return Ok(());
        };
        let (topic, retain, clears) = (message.topic.clone(), message.retain, message.payload.is_empty());
        let Ok(name) = TopicName::parse(&topic) else {
            return Ok(());
        };
        for client in clients {
            let matching = client.subscriptions.iter().filter(|subscription| {
                TopicFilter::parse(&subscription.filter).is_ok_and(|filter| filter.matches(&name))
            });
            let matching: Vec<_> = matching.collect();
            let Some(qos) = matching.iter().map(|subscription| subscription.options.qos).max() else {
                continue;
            };
            if qos == QoS::AtMostOnce {
                self.builder.imported.left_out += 1;
                continue;
            }
            let identifiers = matching.iter().map(|subscription| subscription.identifier);
            let entry = ClientMessage {
                message: number,
                packet_id: None,
                qos,
                state: state::QUEUED,
                retain: false,
                identifiers: identifiers.filter(|identifier| *identifier != 0).collect(),
            };
            self.deliver(&client.client_id, &entry)?;
        }
        if retain {
            self.content
                .retained
                .retain(|other| self.content.messages.get(other).is_none_or(|other| other.topic != topic));
            if !clears {
                self.content.retained.push(number);
            }
        }
        Ok(())
    }
}

fn record(message: &Message, now: WallTime, retain: bool) -> MessageRecord<'_> {
    let Message { topic, payload, properties, qos, expires_at, .. } = message;
    MessageRecord { topic, properties, payload, qos: *qos, retain, received_at: now, expires_at: *expires_at }
}
