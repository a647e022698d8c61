//! What a store holds, row after row, each checked.

use hashbrown::{HashMap, HashSet};

use crate::codec::packet_id::PacketId;
use crate::codec::properties::{Properties, Property};
use crate::codec::qos::QoS;
use crate::codec::subscribe::SubscriptionOptions;
use crate::codec::topic::{TopicFilter, TopicName};
use crate::storage::durable::decode::options;
use crate::storage::durable::keys::{self, Kind, all, all_of, numbered};
use crate::storage::durable::rows::{self, DeliveryRow, SessionRow};
use crate::storage::durable::tables::Tables;
use crate::storage::durable::wire::{Malformed, Reader};
use crate::storage::{DeliveryRecord, MessageRecord, SessionChange, StoreError};
use crate::time::WallTime;

/// A part of what a store holds.
pub(super) enum Item<'i> {
    /// A topic's retained message.
    Retained(MessageRecord<'i>),
    /// A session; its deliveries follow.
    Session(&'i SessionItem<'i>),
    /// A message in the window or the queue of the session before.
    Delivery(&'i DeliveryItem<'i>),
}

/// A session without its deliveries.
pub(super) struct SessionItem<'i> {
    pub client_id: &'i str,
    pub expiry_interval: u32,
    pub user: Option<&'i str>,
    pub detached_at: Option<WallTime>,
    pub will: Option<WillItem<'i>>,
    pub subscriptions: Vec<SubscriptionItem>,
    /// Packet Identifiers of received QoS 2 messages that are not released.
    pub received: Vec<PacketId>,
}

/// A will.
pub(super) struct WillItem<'i> {
    pub message: MessageRecord<'i>,
    pub delay: u32,
    pub expiry: Option<u32>,
}

/// A subscription.
pub(super) struct SubscriptionItem {
    pub filter: String,
    pub options: SubscriptionOptions,
    pub identifier: u32,
    /// If its retained messages are to be sent: how.
    pub due: Option<DueItem>,
}

/// Retained messages that are to be sent.
#[derive(Clone, Copy)]
pub(super) struct DueItem {
    /// Which comes first: the least.
    pub order: u64,
    pub qos: QoS,
    pub identifier: u32,
}

/// A delivery.
pub(super) struct DeliveryItem<'i> {
    pub client_id: &'i str,
    pub state: DeliveryState,
    /// The number of the message, if several deliveries share it.
    pub shared: Option<u64>,
    /// What is delivered; `None` if the client has confirmed it.
    pub record: Option<DeliveryRecord<'i>>,
}

/// How far a delivery is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DeliveryState {
    Queued,
    Sent(PacketId),
    Confirmed(PacketId),
}

/// What gets the items.
pub(super) type See<'s, E> = &'s mut dyn FnMut(Item<'_>) -> Result<(), E>;

/// Gives everything that the tables hold to `see`: retained messages, then the sessions, each with its deliveries in order.
///
/// # Errors
/// A row says nothing, or names another one that is not there; or `see` has failed.
pub(super) fn read<E: From<StoreError>>(tables: &Tables, see: See<'_, E>) -> Result<(), E> {
    tables.for_each(all(Kind::Retained), |key, value| {
        let topic = keys::topic_of(key).map_err(|_| bad_row(tables, "a retained message"))?;
        let (message, _) = Reader::new(value).message().map_err(|_| bad_row(tables, "a retained message"))?;
        if message.topic != topic {
            return Err(bad_row(tables, "a retained message").into());
        }
        check_message(tables, &message)?;
        see(Item::Retained(message))
    })?;
    let mut referred = HashSet::new();
    let mut sessions = HashSet::new();
    let mut names = HashSet::new();
    tables.for_each(all(Kind::Session), |key, value| {
        let number = keys::number_of(key).map_err(|_| bad_row(tables, "a session"))?;
        let (client_id, row) = SessionRow::decode(value).map_err(|_| bad_row(tables, "a session"))?;
        sessions.insert(number);
        if !names.insert(Box::<str>::from(client_id)) {
            return Err(unreadable(tables, format!("there are two sessions of {client_id:?}")).into());
        }
        Session { tables, number, client_id, row: &row, referred: &mut referred }.read(see)
    })?;
    look_for_strays(tables, &sessions, &referred)?;
    Ok(())
}

/// The error if a row belongs to no session, or a message to no delivery.
fn look_for_strays(
    tables: &Tables,
    sessions: &HashSet<u64>,
    referred: &HashSet<u64>,
) -> Result<(), StoreError> {
    let of_sessions = [Kind::Subscription, Kind::Delivery, Kind::Window, Kind::Received, Kind::RetainedDue];
    for kind in of_sessions {
        tables.for_each(all(kind), |key, _| {
            let number = key.get(..9).map(keys::number_of);
            match number {
                Some(Ok(number)) if sessions.contains(&number) => Ok(()),
                _ => Err(unreadable(tables, format!("a row ({kind:?}) belongs to no session"))),
            }
        })?;
    }
    tables.for_each(all(Kind::Message), |key, _| match keys::number_of(key) {
        Ok(number) if referred.contains(&number) => Ok(()),
        _ => Err(unreadable(tables, "a message belongs to no delivery".to_owned())),
    })
}

/// A session that is read.
struct Session<'s> {
    tables: &'s Tables,
    number: u64,
    client_id: &'s str,
    row: &'s SessionRow,
    /// Messages that deliveries name.
    referred: &'s mut HashSet<u64>,
}

impl Session<'_> {
    fn read<E: From<StoreError>>(&mut self, see: See<'_, E>) -> Result<(), E> {
        let Session { tables, client_id, row, .. } = *self;
        let will = match &row.will {
            None => None,
            Some(will) => Some(will_of(will).map_err(|_| self.bad("the will"))?),
        };
        if let Some(will) = &will {
            check_message(tables, &will.message)?;
        }
        let item = SessionItem {
            client_id,
            expiry_interval: row.expiry_interval,
            user: row.user.as_deref(),
            detached_at: row.detached_at,
            will,
            subscriptions: self.subscriptions()?,
            received: self.received()?,
        };
        see(Item::Session(&item))?;
        self.deliveries(see)
    }

    fn bad(&self, what: &str) -> StoreError {
        bad_row(self.tables, &format!("{what} of session {:?}", self.client_id))
    }

    fn subscriptions(&self) -> Result<Vec<SubscriptionItem>, StoreError> {
        let bad = |_| self.bad("a subscription");
        let mut subscriptions = Vec::new();
        self.tables.for_each(all_of(Kind::Subscription, self.number), |key, value| {
            let (_, filter) = keys::session_and_filter(key).map_err(bad)?;
            let (byte, identifier) = rows::subscription_of(value).map_err(bad)?;
            let options = options(byte).map_err(bad)?;
            if TopicFilter::parse(filter).is_err() {
                return Err(bad(Malformed));
            }
            subscriptions.push(SubscriptionItem {
                filter: filter.to_owned(),
                options,
                identifier,
                due: None,
            });
            Ok(())
        })?;
        self.tables.for_each(all_of(Kind::RetainedDue, self.number), |key, value| {
            let (_, filter) = keys::session_and_filter(key).map_err(bad)?;
            let (order, qos, identifier) = rows::due_of(value).map_err(bad)?;
            let subscription = subscriptions.iter_mut().find(|subscription| subscription.filter == filter);
            subscription.ok_or_else(|| bad(Malformed))?.due = Some(DueItem { order, qos, identifier });
            Ok::<_, StoreError>(())
        })?;
        Ok(subscriptions)
    }

    fn received(&self) -> Result<Vec<PacketId>, StoreError> {
        let mut received = Vec::new();
        self.tables.for_each(all_of(Kind::Received, self.number), |key, _| {
            let number = keys::session_and_number(key).and_then(|(_, number)| rows::packet_id(number));
            received.push(number.map_err(|_| self.bad("a received message"))?);
            Ok::<_, StoreError>(())
        })?;
        Ok(received)
    }

    /// The window, in the order of sending, then the queue.
    fn deliveries<E: From<StoreError>>(&mut self, see: See<'_, E>) -> Result<(), E> {
        let tables = self.tables;
        let mut window = Vec::new();
        tables.for_each(all_of(Kind::Window, self.number), |key, value| {
            let (_, delivery) = keys::session_and_number(key).map_err(|_| self.bad("a delivery"))?;
            window.push((delivery, rows::window_of(value).map_err(|_| self.bad("a delivery"))?));
            Ok::<_, StoreError>(())
        })?;
        let mut in_window = HashMap::new();
        for (delivery, (packet_id, confirmed)) in window {
            let row = tables.get(&keys::of_session(Kind::Delivery, self.number, delivery))?;
            match (confirmed, row) {
                (true, None) => {
                    let state = DeliveryState::Confirmed(packet_id);
                    let client_id = self.client_id;
                    see(Item::Delivery(&DeliveryItem { client_id, state, shared: None, record: None }))?;
                }
                (false, Some(row)) => self.delivery(delivery, &row, DeliveryState::Sent(packet_id), see)?,
                _ => return Err(self.bad("a delivery").into()),
            }
            in_window.insert(delivery, packet_id);
        }
        tables.for_each(all_of(Kind::Delivery, self.number), |key, value| {
            let (_, delivery) = keys::session_and_number(key).map_err(|_| self.bad("a delivery"))?;
            match in_window.contains_key(&delivery) {
                true => Ok(()),
                false => self.delivery(delivery, value, DeliveryState::Queued, see),
            }
        })
    }

    fn delivery<E: From<StoreError>>(
        &mut self,
        number: u64,
        row: &[u8],
        state: DeliveryState,
        see: See<'_, E>,
    ) -> Result<(), E> {
        let row = DeliveryRow::decode(row).map_err(|_| self.bad("a delivery"))?;
        let found = self.tables.get(&numbered(Kind::Message, row.message))?;
        let found = found.ok_or_else(|| self.bad("the message of a delivery"))?;
        self.referred.insert(row.message);
        let message = rows::numbered_message_of(row.message, &found)
            .map_err(|_| self.bad("the message of a delivery"))?;
        check_message(self.tables, &message)?;
        let head = &row.head;
        if head.qos == QoS::AtMostOnce {
            return Err(self.bad("a delivery").into());
        }
        let record = DeliveryRecord {
            message,
            qos: head.qos,
            retain: head.retain,
            identifiers: &head.identifiers,
            share: head.share,
        };
        let shared = (row.message != number).then_some(row.message);
        let client_id = self.client_id;
        see(Item::Delivery(&DeliveryItem { client_id, state, shared, record: Some(record) }))
    }
}

fn will_of(row: &[u8]) -> Result<WillItem<'_>, Malformed> {
    match rows::will_change(row)? {
        SessionChange::Will { message, delay, expiry } => Ok(WillItem { message, delay, expiry }),
        _ => Err(Malformed),
    }
}

/// The error of a message that no broker would have stored.
fn check_message(tables: &Tables, message: &MessageRecord<'_>) -> Result<(), StoreError> {
    let properties = Properties::from_encoded(message.properties);
    let known = properties.is_ok_and(|properties| {
        properties.iter().all(|property| {
            use Property as P;
            let text_or_data = matches!(
                property,
                P::ContentType(_) | P::ResponseTopic(_) | P::CorrelationData(_) | P::UserProperty(..)
            );
            text_or_data || matches!(property, P::PayloadFormatIndicator(_))
        })
    });
    match known && TopicName::parse(message.topic).is_ok() {
        true => Ok(()),
        false => Err(bad_row(tables, &format!("a message of topic {:?}", message.topic))),
    }
}

fn bad_row(tables: &Tables, what: &str) -> StoreError {
    unreadable(tables, format!("{what} cannot be read"))
}

fn unreadable(tables: &Tables, what: String) -> StoreError {
    StoreError::Unreadable { file: tables.path().to_owned(), what }
}
