//! Messages: what a callback or a batch brings.

use std::mem::transmute;
use std::sync::Arc;

use crate::codec::properties::Properties;
use crate::embed::{Message, MessageView};
use crate::ffi::arguments::{beyond, borrowed, borrowed_or_null, flag, free, given, slot};
use crate::ffi::broker::{held, midge_broker};
use crate::ffi::guard::guard;
use crate::ffi::status::{MIDGE_STATUS_OK, midge_status};
use crate::ffi::views::midge_bytes;

/// A received message. One that a callback or a batch lends is not freed; one from midge_message_clone belongs to the
/// caller, who frees it by midge_message_free. Any thread may read it.
pub struct midge_message {
    /// Lives as long as `owner`, or as the lender.
    view: MessageView<'static>,
    owner: Owner,
}

/// What keeps a message alive.
#[allow(dead_code, reason = "the messages are kept, not read")]
// Not boxes: a Box that moves claims to be the only way to what it holds, and the view is another.
enum Owner {
    /// The lender.
    Lender,
    /// The message itself; it is the caller's.
    Own(Arc<Message>),
    /// As `Own`, in a list.
    InList(Arc<Message>),
}

impl midge_message {
    /// A message that borrows. It must not outlive what `view` borrows from.
    pub(super) fn borrowing(view: &MessageView<'_>) -> midge_message {
        // SAFETY: only the lifetime changes. Callers keep what is borrowed: `lend` for the length of a call, a batch
        // beside the messages that it makes, a clone its owner in the next field.
        let view = unsafe { transmute::<MessageView<'_>, MessageView<'static>>(*view) };
        midge_message { view, owner: Owner::Lender }
    }

    /// Lends a message for the length of a call.
    pub(super) fn lend<T>(view: &MessageView<'_>, to: impl FnOnce(*const midge_message) -> T) -> T {
        to(&midge_message::borrowing(view))
    }

    /// A message in a list, which frees it.
    pub(super) fn owning(message: Message) -> midge_message {
        let owner = Arc::new(message);
        let borrowing = midge_message::borrowing(&owner.view());
        midge_message { owner: Owner::InList(owner), ..borrowing }
    }

    fn properties(&self) -> Properties<'_> {
        self.view.properties
    }
}

/// The topic name. It lives as long as the message. NULL for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn midge_message_topic(message: *const midge_message) -> midge_bytes {
    guard!(
        { borrowed_or_null(message.as_ref().map(|message| message.view.topic.as_bytes())) },
        else midge_bytes::NONE
    )
}

/// The payload. It lives as long as the message. NULL for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn midge_message_payload(message: *const midge_message) -> midge_bytes {
    guard!({ borrowed_or_null(message.as_ref().map(|message| message.view.payload)) }, else midge_bytes::NONE)
}

/// The QoS of the delivery: 0, 1 or 2. -1 for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn midge_message_qos(message: *const midge_message) -> i32 {
    guard!({ message.as_ref().map_or(-1, |message| message.view.qos.as_u8().into()) }, else -1)
}

/// 1 if the message was retained when the subscription was made (or, with `retain_as_published`, if it was published
/// so), otherwise 0. -1 for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn midge_message_retained(message: *const midge_message) -> i32 {
    guard!({ message.as_ref().map_or(-1, |message| message.view.retain.into()) }, else -1)
}

/// The tag of the queue's subscription that the message came by. 0 in a callback, and for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn midge_message_tag(message: *const midge_message) -> u64 {
    guard!({ message.as_ref().map_or(0, |message| message.view.tag) }, else 0)
}

/// Seconds that were left to the message when it was queued for the host. -1 if it does not expire, and for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn midge_message_expiry_interval(message: *const midge_message) -> i64 {
    guard!(
        { message.as_ref().and_then(|message| message.view.expiry_interval).map_or(-1, i64::from) },
        else -1
    )
}

/// 1 if the publisher marked the payload as UTF-8 text, otherwise 0. -1 for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn midge_message_payload_is_text(message: *const midge_message) -> i32 {
    guard!(
        {
            message.as_ref().map_or(-1, |message| {
                i32::from(message.properties().payload_format_indicator() == Some(1))
            })
        },
        else -1
    )
}

/// What the payload is, in words of the publisher. It lives as long as the message. NULL if it was not said.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn midge_message_content_type(message: *const midge_message) -> midge_bytes {
    guard!(
        {
            let content_type = message.as_ref().and_then(|message| message.properties().content_type());
            borrowed_or_null(content_type.map(str::as_bytes))
        },
        else midge_bytes::NONE
    )
}

/// The topic for an answer. It lives as long as the message. NULL if none is expected.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn midge_message_response_topic(message: *const midge_message) -> midge_bytes {
    guard!(
        {
            let topic = message.as_ref().and_then(|message| message.properties().response_topic());
            borrowed_or_null(topic.map(str::as_bytes))
        },
        else midge_bytes::NONE
    )
}

/// What the answer must repeat. It lives as long as the message. NULL if nothing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn midge_message_correlation_data(message: *const midge_message) -> midge_bytes {
    guard!(
        { borrowed_or_null(message.as_ref().and_then(|message| message.properties().correlation_data())) },
        else midge_bytes::NONE
    )
}

/// The number of user properties. 0 for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn midge_message_user_property_count(message: *const midge_message) -> usize {
    guard!(
        { message.as_ref().map_or(0, |message| message.properties().user_properties().count()) },
        else 0
    )
}

/// The name and the value of the user property at `index`, from 0, in the publisher's order. They live as long as the
/// message. `name` and `value` may be NULL.
///
/// Errors: INVALID_ARGUMENT, also beyond the last.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn midge_message_user_property_at(
    message: *const midge_message,
    index: usize,
    name: *mut midge_bytes,
    value: *mut midge_bytes,
) -> midge_status {
    guard!({
        let property = given(message, "message")?.properties().user_properties().nth(index);
        let (its_name, its_value) = property.ok_or_else(beyond)?;
        if let Some(name) = name.as_mut() {
            *name = borrowed(its_name.as_bytes());
        }
        if let Some(value) = value.as_mut() {
            *value = borrowed(its_value.as_bytes());
        }
        Ok(MIDGE_STATUS_OK)
    })
}

/// All user properties in the publisher's order, by one walk: the first `capacity` names and values are written to the
/// arrays, and how many there are to `count`. They live as long as the message. Each array may be NULL. Reading many by
/// midge_message_user_property_at takes a walk for each.
///
/// Errors: INVALID_ARGUMENT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn midge_message_user_properties(
    message: *const midge_message,
    capacity: usize,
    names: *mut midge_bytes,
    values: *mut midge_bytes,
    count: *mut usize,
) -> midge_status {
    guard!({
        let count = slot(count, "count")?;
        let properties = given(message, "message")?.properties().user_properties();
        let mut all = 0;
        for (name, value) in properties {
            if all < capacity {
                if !names.is_null() {
                    names.add(all).write(borrowed(name.as_bytes()));
                }
                if !values.is_null() {
                    values.add(all).write(borrowed(value.as_bytes()));
                }
            }
            all += 1;
        }
        count.put(all);
        Ok(MIDGE_STATUS_OK)
    })
}

/// The number of subscription identifiers that came with the message. 0 for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn midge_message_subscription_identifier_count(message: *const midge_message) -> usize {
    guard!(
        { message.as_ref().map_or(0, |message| message.properties().subscription_identifiers().count()) },
        else 0
    )
}

/// The subscription identifier at `index`, from 0. 0 beyond the last, and for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn midge_message_subscription_identifier_at(
    message: *const midge_message,
    index: usize,
) -> u32 {
    guard!(
        {
            message
                .as_ref()
                .and_then(|message| message.properties().subscription_identifiers().nth(index))
                .unwrap_or(0)
        },
        else 0
    )
}

/// All subscription identifiers, by one walk: the first `capacity` are written to the array, which may be NULL, and how many
/// there are to `count`.
///
/// Errors: INVALID_ARGUMENT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn midge_message_subscription_identifiers(
    message: *const midge_message,
    capacity: usize,
    identifiers: *mut u32,
    count: *mut usize,
) -> midge_status {
    guard!({
        let count = slot(count, "count")?;
        let mut all = 0;
        for identifier in given(message, "message")?.properties().subscription_identifiers() {
            if all < capacity && !identifiers.is_null() {
                identifiers.add(all).write(identifier);
            }
            all += 1;
        }
        count.put(all);
        Ok(MIDGE_STATUS_OK)
    })
}

/// Makes a message that outlives its callback or batch. A large payload is shared, a small one copied.
///
/// Errors: INVALID_ARGUMENT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn midge_message_clone(
    message: *const midge_message,
    out: *mut *mut midge_message,
) -> midge_status {
    guard!({
        let out = slot(out, "out")?;
        let owner = Arc::new(given(message, "message")?.view.to_message());
        let borrowing = midge_message::borrowing(&owner.view());
        Ok(out.put_handle(midge_message { owner: Owner::Own(owner), ..borrowing }))
    })
}

/// Frees a message from midge_message_clone. NULL is taken. A message that is lent is left alone.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn midge_message_free(message: *mut midge_message) {
    guard!(
        {
            if message.as_ref().is_some_and(|message| matches!(message.owner, Owner::Own(_))) {
                free(message);
            }
        },
        else ()
    );
}

/// Publishes a received message under its own topic, at its QoS, with its payload and its properties. `retain` is 1
/// or 0, as in midge_publish_options.
///
/// Errors: as midge_publish.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn midge_publish_message(
    broker: *mut midge_broker,
    message: *const midge_message,
    retain: i32,
) -> midge_status {
    guard!({
        let broker = held(broker)?;
        broker.publish_message(&given(message, "message")?.view, flag(retain, "retain")?)?;
        Ok(MIDGE_STATUS_OK)
    }, concerns broker)
}
