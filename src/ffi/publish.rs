//! Publishing from the host.

use std::ffi::{c_char, c_void};

use crate::embed::PublishOptions;
use crate::ffi::arguments::{Growing, bytes, flag, optional, options, qos, slice, text, topic};
use crate::ffi::broker::{live, midge_broker};
use crate::ffi::guard::{Failure, guard};
use crate::ffi::status::{MIDGE_STATUS_OK, midge_status};

/// A user property to be published: a name and a value, NUL-ended UTF-8. A name may occur more than once.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct midge_user_property {
    /// The name.
    pub name: *const c_char,
    /// The value.
    pub value: *const c_char,
}

/// How a message is published. Begin with MIDGE_PUBLISH_OPTIONS_INIT, which is QoS 0, not retained, no properties.
/// Midge reads it, and what it points to, during the call only.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct midge_publish_options {
    /// Set by MIDGE_PUBLISH_OPTIONS_INIT.
    pub struct_size: usize,
    /// 0, 1 or 2. A subscriber gets the lower of this and its own.
    pub qos: i32,
    /// 1: the message becomes the retained message of its topic; with an empty payload it removes that. Otherwise 0.
    pub retain: i32,
    /// Seconds after which the message is no longer delivered, 0 to 4294967295; -1: it does not expire.
    pub message_expiry_interval: i64,
    /// 1 if the payload is UTF-8 text, for subscribers of MQTT 5; Midge does not check it. Otherwise 0.
    pub payload_is_text: i32,
    /// 0.
    pub reserved: i32,
    /// What the payload is, such as a MIME type; NULL if it is not said.
    pub content_type: *const c_char,
    /// The topic for an answer; NULL if none is expected.
    pub response_topic: *const c_char,
    /// What the answer is to carry; NULL if nothing.
    pub correlation_data: *const c_void,
    /// Bytes of correlation_data.
    pub correlation_data_len: usize,
    /// The user properties; NULL if there are none.
    pub user_properties: *const midge_user_property,
    /// The number of user properties.
    pub user_property_count: usize,
}

// SAFETY: `repr(C)`, `struct_size` first, then pointers and integers only.
unsafe impl Growing for midge_publish_options {
    const DEFAULT: Self = Self {
        struct_size: size_of::<Self>(),
        qos: 0,
        retain: 0,
        message_expiry_interval: -1,
        payload_is_text: 0,
        reserved: 0,
        content_type: std::ptr::null(),
        response_topic: std::ptr::null(),
        correlation_data: std::ptr::null(),
        correlation_data_len: 0,
        user_properties: std::ptr::null(),
        user_property_count: 0,
    };
}

/// Publishes a message. When this returns, the message is in the outbox or queue of every subscriber; where it could
/// not be, it is counted as dropped with the reason. `payload` may be NULL if `len` is 0. `options` NULL is the
/// defaults. It may be called from any thread and from callbacks, and does not wait for subscribers.
///
/// Errors: TOPIC; INVALID_ARGUMENT, also if the message is larger than mqtt.max_packet_size; STATE; FORKED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn midge_publish(
    broker: *mut midge_broker,
    topic: *const c_char,
    payload: *const c_void,
    len: usize,
    options: *const midge_publish_options,
) -> midge_status {
    guard!({
        let broker = live(broker)?;
        let topic = self::topic(topic, "topic")?;
        let payload = bytes(payload, len, "payload")?;
        broker.publish(topic, payload, &read(options)?)?;
        Ok(MIDGE_STATUS_OK)
    }, concerns broker)
}

/// Publishes `count` messages in order, all with the same `options`, as midge_publish does each: for languages to
/// which a call is dear. `topics`, `payloads` and `lens` are arrays of `count` entries; a payload may be NULL if its
/// length is 0. The arrays may be NULL if `count` is 0.
///
/// `*published` (which may be NULL) is written also on failure: it is the number of messages that were published, and
/// the index of the one that was refused. Those after it were not looked at.
///
/// Errors: as midge_publish.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn midge_publish_many(
    broker: *mut midge_broker,
    topics: *const *const c_char,
    payloads: *const *const c_void,
    lens: *const usize,
    count: usize,
    options: *const midge_publish_options,
    published: *mut usize,
) -> midge_status {
    let mut done = 0;
    let status = guard!({
        let broker = live(broker)?;
        let topics = slice(topics, count, "topics")?;
        let payloads = slice(payloads, count, "payloads")?;
        let lens = slice(lens, count, "lens")?;
        let options = read(options)?;
        for ((name, payload), len) in topics.iter().zip(payloads).zip(lens) {
            let name = topic(*name, "topic")?;
            broker.publish(name, bytes(*payload, *len, "payload")?, &options)?;
            done += 1;
        }
        Ok(MIDGE_STATUS_OK)
    }, concerns broker);
    if !published.is_null() {
        // SAFETY: not NULL, and the caller keeps it writable, as the header says.
        unsafe { published.write(done) };
    }
    status
}

/// The options as floor 7 takes them.
///
/// # Safety
/// `given` is NULL, or the options and what they point to are live.
unsafe fn read(given: *const midge_publish_options) -> Result<PublishOptions, Failure> {
    // SAFETY: the caller's.
    let given = unsafe { options(given) }?;
    let mut read = PublishOptions::qos(qos(given.qos)?);
    read.retain = flag(given.retain, "retain")?;
    read.payload_is_text = flag(given.payload_is_text, "payload_is_text")?;
    flag(given.reserved, "reserved")
        .and_then(|used| if used { Err(Failure::argument("reserved", "is not 0")) } else { Ok(()) })?;
    read.message_expiry_interval = expiry(given.message_expiry_interval)?;
    // SAFETY: the caller's.
    unsafe {
        read.content_type = optional(given.content_type, "content_type")?.map(str::to_owned);
        read.response_topic = optional(given.response_topic, "response_topic")?.map(str::to_owned);
        let data = bytes(given.correlation_data, given.correlation_data_len, "correlation_data")?;
        read.correlation_data = (!given.correlation_data.is_null()).then(|| data.to_vec());
        let properties = slice(given.user_properties, given.user_property_count, "user_properties")?;
        for property in properties {
            let name = text(property.name, "user_properties: name")?;
            let value = text(property.value, "user_properties: value")?;
            read.user_properties.push((name.to_owned(), value.to_owned()));
        }
    }
    Ok(read)
}

fn expiry(seconds: i64) -> Result<Option<u32>, Failure> {
    match seconds {
        -1 => Ok(None),
        seconds => u32::try_from(seconds).map(Some).map_err(|_| {
            Failure::argument("message_expiry_interval", &format!("{seconds} is not -1 to 4294967295"))
        }),
    }
}
