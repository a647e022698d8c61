//! Publishing from the host.

use std::ffi::{c_char, c_void};
use std::mem::offset_of;

use crate::codec::topic::TopicName;
use crate::embed::{Error, PublishOptions};
use crate::ffi::arguments::{
    Growing, bytes, field, flag, milliseconds, optional, options, qos, slice, text, topic,
};
use crate::ffi::broker::{held, midge_broker};
use crate::ffi::error::midge_error;
use crate::ffi::guard::{Failure, guard};
use crate::ffi::status::{MIDGE_STATUS_OK, MIDGE_STATUS_STATE, MIDGE_STATUS_TIMED_OUT, midge_status};
use crate::ffi::views::{UserData, midge_free_fn};

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
/// Midge reads it, and what it points to, during the call only; it writes where `receivers` and `error` say.
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
    /// Where the number of subscribers that the message was published to goes, clients that are away among them; NULL if
    /// it is not asked for. It is written when the call answers OK. Of midge_publish_many it is the sum over its messages.
    pub receivers: *mut usize,
    /// Where the error goes that says in words what is wrong, if the call fails. The caller frees it. NULL if it is not
    /// asked for.
    pub error: *mut *mut midge_error,
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
        receivers: std::ptr::null_mut(),
        error: std::ptr::null_mut(),
    };
}

/// Publishes a message. When this returns, the message is in the outbox or queue of every subscriber; where it could
/// not be, it is counted as dropped with the reason. `payload` may be NULL if `len` is 0. `options` NULL is the
/// defaults. It may be called from any thread and from callbacks, and does not wait for subscribers. The options say
/// where the number of its receivers goes, and in words what is wrong if it fails.
///
/// Errors: TOPIC; INVALID_ARGUMENT, also if the topic is below $SYS, where only the broker publishes, or if the message
/// is beyond mqtt.max_topic_length, mqtt.max_topic_levels or mqtt.max_packet_size; STATE; FORKED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn midge_publish(
    broker: *mut midge_broker,
    topic: *const c_char,
    payload: *const c_void,
    len: usize,
    options: *const midge_publish_options,
) -> midge_status {
    guard!({
        let receivers = publish(broker, topic, payload, len, options)?;
        tell(options, receivers);
        Ok(MIDGE_STATUS_OK)
    }, concerns broker, tells error_of(options))
}

/// Publishes as midge_publish does, and answers the number of subscribers that the message was published to, clients
/// that are away among them; or less than 0: the midge_status of a failure. It is for languages to which an output is
/// dear; a C program has the option `receivers`.
///
/// Errors: as midge_publish.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn midge_publish_counted(
    broker: *mut midge_broker,
    topic: *const c_char,
    payload: *const c_void,
    len: usize,
    options: *const midge_publish_options,
) -> i64 {
    let mut answer = 0;
    let status = guard!({
        let receivers = publish(broker, topic, payload, len, options)?;
        tell(options, receivers);
        answer = i64::try_from(receivers).unwrap_or(i64::MAX);
        Ok(MIDGE_STATUS_OK)
    }, concerns broker, tells error_of(options));
    if status == MIDGE_STATUS_OK { answer } else { i64::from(status) }
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
    let (mut done, mut receivers) = (0, 0);
    let status = guard!({
        let broker = held(broker)?;
        let topics = slice(topics, count, "topics")?;
        let payloads = slice(payloads, count, "payloads")?;
        let lens = slice(lens, count, "lens")?;
        let how = read(options)?;
        for ((name, payload), len) in topics.iter().zip(payloads).zip(lens) {
            let name = topic(*name, "topic")?;
            receivers += broker.publish(name, bytes(*payload, *len, "payload")?, &how)?;
            done += 1;
        }
        tell(options, receivers);
        Ok(MIDGE_STATUS_OK)
    }, concerns broker, tells error_of(options));
    if !published.is_null() {
        // SAFETY: not NULL, and the caller keeps it writable, as the header says.
        unsafe { published.write(done) };
    }
    status
}

/// Publishes as midge_publish does, and takes the payload over: it is given back by one call of `free_payload` with
/// `user_data` (for a payload of malloc: `free` and the payload itself), when nobody uses it any more or when this
/// fails. `free_payload` may be NULL for a payload that lives as long as the process.
///
/// A payload of 8 KiB or more is not copied, and must not change until it is given back: subscribers, queues, received
/// messages and the retained message use it, in outboxes as well as in this process. A smaller one is copied, which is
/// cheaper, and given back before this returns. `free_payload` runs on any thread, while no lock of Midge is held; it must
/// not throw, stop a broker or free one. A forked child gives nothing back that its parent has handed over.
///
/// Errors: as midge_publish.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn midge_publish_owned(
    broker: *mut midge_broker,
    topic: *const c_char,
    payload: *const c_void,
    len: usize,
    free_payload: midge_free_fn,
    user_data: *mut c_void,
    options: *const midge_publish_options,
) -> midge_status {
    let user_data = UserData::new(user_data, free_payload);
    guard!({
        let owner = user_data;
        let broker = held(broker)?;
        let topic = self::topic(topic, "topic")?;
        // For as long as the owner lives, the caller says.
        let bytes: &'static [u8] = bytes(payload, len, "payload")?;
        tell(options, broker.publish_owned(topic, OwnedPayload { bytes, _owner: owner }, &read(options)?)?);
        Ok(MIDGE_STATUS_OK)
    }, concerns broker, tells error_of(options))
}

/// Publishes as midge_publish does, and waits up to `timeout_ms` milliseconds (less than 0: for ever) until the message
/// is as safe as its QoS and the store promise: of QoS 1 and 2, until the store has committed it for every session
/// that is to get it, and as the retained message. QoS 0 promises nothing, and a broker that keeps everything in memory
/// is as safe at once as it will be, so there nothing is waited for.
///
/// Returns OK; TIMED_OUT, and then the message is published all the same. Errors: as midge_publish; STATE also if the
/// broker stopped first; IN_CALLBACK on a thread of a broker, before anything is published.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn midge_publish_acknowledged(
    broker: *mut midge_broker,
    topic: *const c_char,
    payload: *const c_void,
    len: usize,
    options: *const midge_publish_options,
    timeout_ms: i32,
) -> midge_status {
    guard!({
        let broker = held(broker)?;
        let topic = self::topic(topic, "topic")?;
        let payload = bytes(payload, len, "payload")?;
        let safe = broker.publish_acknowledged(topic, payload, &read(options)?, milliseconds(timeout_ms))?;
        Ok(match safe {
            Some(receivers) => {
                tell(options, receivers);
                MIDGE_STATUS_OK
            }
            None => MIDGE_STATUS_TIMED_OUT,
        })
    }, concerns broker, tells error_of(options))
}

/// Called once when a message is as safe as midge_publish_acknowledged waits for (`status` is OK), or when the broker
/// has stopped before that (STATE).
pub type midge_acknowledged_fn = Option<unsafe extern "C" fn(status: midge_status, user_data: *mut c_void)>;

/// Publishes as midge_publish does, and has `callback` called once when the message is safe: before this returns and
/// on this thread, if it is safe already, otherwise on a thread of the broker. The callback may publish, subscribe and
/// free subscriptions; it must not throw. If this fails, it is not called.
///
/// `free_user_data` (which may be NULL) is called exactly once with `user_data`: after the callback, or before this
/// returns if it fails.
///
/// Errors: as midge_publish.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn midge_publish_with_callback(
    broker: *mut midge_broker,
    topic: *const c_char,
    payload: *const c_void,
    len: usize,
    options: *const midge_publish_options,
    callback: midge_acknowledged_fn,
    user_data: *mut c_void,
    free_user_data: midge_free_fn,
) -> midge_status {
    let user_data = UserData::new(user_data, free_user_data);
    guard!({
        let user_data = user_data;
        let broker = held(broker)?;
        let callback = callback.ok_or_else(|| Failure::argument("callback", "is NULL"))?;
        let topic = self::topic(topic, "topic")?;
        let payload = bytes(payload, len, "payload")?;
        let receivers = broker.publish_with_callback(topic, payload, &read(options)?, move |outcome| {
            let status = if outcome.is_ok() { MIDGE_STATUS_OK } else { MIDGE_STATUS_STATE };
            callback(status, user_data.pointer());
        })?;
        tell(options, receivers);
        Ok(MIDGE_STATUS_OK)
    }, concerns broker, tells error_of(options))
}

/// Whether a text is a topic name that can be published to, as far as MQTT says: OK, or TOPIC with a sentence. The
/// settings of a broker may allow less.
///
/// Errors: TOPIC; INVALID_ARGUMENT for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn midge_topic_check(
    topic: *const c_char,
    error: *mut *mut midge_error,
) -> midge_status {
    guard!({
        let topic = self::topic(topic, "topic")?;
        TopicName::parse(topic).map_err(|cause| Error::Topic { topic: topic.to_owned(), cause })?;
        Ok(MIDGE_STATUS_OK)
    }, tells error)
}

/// Publishes a message, and returns the number of its receivers.
///
/// # Safety
/// What C hands over is as the head of the header demands.
unsafe fn publish(
    broker: *mut midge_broker,
    topic: *const c_char,
    payload: *const c_void,
    len: usize,
    options: *const midge_publish_options,
) -> Result<usize, Failure> {
    // SAFETY: the caller's.
    unsafe {
        let broker = held(broker)?;
        let topic = self::topic(topic, "topic")?;
        let payload = bytes(payload, len, "payload")?;
        let receivers = if options.is_null() {
            broker.publish_plain(topic, payload)
        } else {
            broker.publish(topic, payload, &read(options)?)
        };
        Ok(receivers?)
    }
}

/// A payload of the host, given back when this is dropped.
struct OwnedPayload {
    bytes: &'static [u8],
    _owner: UserData,
}

impl AsRef<[u8]> for OwnedPayload {
    fn as_ref(&self) -> &[u8] {
        self.bytes
    }
}

/// The options as floor 7 takes them.
///
/// # Safety
/// `given` is NULL, or the options and what they point to are live.
pub(super) unsafe fn read(given: *const midge_publish_options) -> Result<PublishOptions, Failure> {
    if given.is_null() {
        return Ok(PublishOptions::default());
    }
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

/// Where the error of a call with these options goes; NULL for nowhere.
///
/// # Safety
/// As for [`read`].
pub(super) unsafe fn error_of(given: *const midge_publish_options) -> *mut *mut midge_error {
    // SAFETY: the caller's.
    unsafe { field(given, offset_of!(midge_publish_options, error)) }.unwrap_or(std::ptr::null_mut())
}

/// Tells the caller the number of receivers, if the options ask for it.
///
/// # Safety
/// As for [`read`].
unsafe fn tell(given: *const midge_publish_options, receivers: usize) {
    // SAFETY: the caller's.
    let place: Option<*mut usize> = unsafe { field(given, offset_of!(midge_publish_options, receivers)) };
    if let Some(place) = place.filter(|place| !place.is_null()) {
        // SAFETY: not NULL, and the caller keeps it writable, as the header says.
        unsafe { place.write(receivers) };
    }
}

fn expiry(seconds: i64) -> Result<Option<u32>, Failure> {
    match seconds {
        -1 => Ok(None),
        seconds => u32::try_from(seconds).map(Some).map_err(|_| {
            Failure::argument("message_expiry_interval", &format!("{seconds} is not -1 to 4294967295"))
        }),
    }
}
