//! Subscribing the host with a callback.

use std::ffi::{c_char, c_void};

use crate::codec::subscribe::RetainHandling;
use crate::codec::topic::TopicFilter;
use crate::embed::{CallbackSubscription, Error, QueueSubscription, SubscribeOptions};
use crate::ffi::arguments::{Growing, flag, free, options, qos, slot, topic};
use crate::ffi::broker::{held, midge_broker};
use crate::ffi::error::midge_error;
use crate::ffi::guard::{Failure, guard};
use crate::ffi::message::midge_message;
use crate::ffi::status::{MIDGE_STATUS_OK, midge_status};
use crate::ffi::views::{UserData, midge_free_fn};

/// Retained messages that match are delivered when the subscription is made.
pub const MIDGE_RETAIN_SEND: i32 = 0;
/// As MIDGE_RETAIN_SEND, if the subscription did not exist; those of the host program never did.
pub const MIDGE_RETAIN_SEND_IF_NEW: i32 = 1;
/// Retained messages are not delivered when the subscription is made.
pub const MIDGE_RETAIN_DO_NOT_SEND: i32 = 2;

/// How the host subscribes. Begin with MIDGE_SUBSCRIBE_OPTIONS_INIT: QoS 2 at most, with retained messages.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct midge_subscribe_options {
    /// Set by MIDGE_SUBSCRIBE_OPTIONS_INIT.
    pub struct_size: usize,
    /// The highest QoS of a delivery: 0, 1 or 2. Inside the process no message is lost or doubled at any QoS; it is
    /// told by midge_message_qos.
    pub qos: i32,
    /// 1: messages that the host publishes itself are left out. Otherwise 0.
    pub no_local: i32,
    /// 1: RETAIN is passed on as it was published. Otherwise 0.
    pub retain_as_published: i32,
    /// A MIDGE_RETAIN_... constant.
    pub retain_handling: i32,
    /// A number that comes with each message of this subscription, 1 to 268435455; 0 is none.
    pub identifier: i64,
    /// 1: the callback runs on the thread that publishes, as midge_subscribe says; not for queues. Otherwise 0.
    pub direct: i32,
    /// 0.
    pub reserved: i32,
}

// SAFETY: `repr(C)`, `struct_size` first, then integers only.
unsafe impl Growing for midge_subscribe_options {
    const DEFAULT: Self = Self {
        struct_size: size_of::<Self>(),
        qos: 2,
        no_local: 0,
        retain_as_published: 0,
        retain_handling: MIDGE_RETAIN_SEND,
        identifier: 0,
        direct: 0,
        reserved: 0,
    };
}

/// Called with each message of a subscription, on the one thread of the broker that runs all of its callbacks, one
/// after the other (or, with `direct`, on the thread that publishes). The message lives until the callback returns; midge_message_clone keeps it. The callback may
/// publish, subscribe and free subscriptions; it must not throw, and while it runs other callbacks wait.
pub type midge_message_fn =
    Option<unsafe extern "C" fn(message: *const midge_message, user_data: *mut c_void)>;

/// A subscription of the host, of a callback or of a queue. It belongs to the caller, who frees it by
/// midge_subscription_free.
pub struct midge_subscription {
    kind: Kind,
}

enum Kind {
    Callback(CallbackSubscription),
    Queue(QueueSubscription),
}

impl midge_subscription {
    pub(super) fn of_queue(subscription: QueueSubscription) -> midge_subscription {
        midge_subscription { kind: Kind::Queue(subscription) }
    }

    fn is_forked(&self) -> bool {
        match &self.kind {
            Kind::Callback(subscription) => subscription.is_forked(),
            Kind::Queue(subscription) => subscription.is_forked(),
        }
    }
}

/// Subscribes the host to a topic filter. `callback` gets each message; while it runs, messages wait in a queue that
/// the settings queue.capacity and queue.max_bytes bound, beyond which new ones are dropped and counted. `options`
/// NULL is the defaults.
///
/// With the option `direct` the callback runs on the thread that publishes: inside midge_publish, before that returns,
/// or for the message of a client on a thread of the broker, which serves no client meanwhile. It runs for one message
/// at a time and in order: what other threads publish while it runs, and what it publishes itself, waits in the queue,
/// and the thread that runs it calls it for that, too, before it goes on; nobody waits. After 64 such messages the
/// callback thread goes on in its place. So when midge_publish returns, the callback has been called, unless another call
/// of it was running. In it midge_stop answers IN_CALLBACK, as in every callback; do not hold a lock that it takes while
/// you publish. It does not run any more when midge_stop or midge_subscription_free returns.
///
/// `free_user_data` (which may be NULL) is called exactly once with `user_data`: after the last call of `callback`, or
/// before this returns if it fails. The callback may run before this returns and `*out` is written.
///
/// Errors: TOPIC; STATE; FORKED; IO; INVALID_ARGUMENT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn midge_subscribe(
    broker: *mut midge_broker,
    filter: *const c_char,
    options: *const midge_subscribe_options,
    callback: midge_message_fn,
    user_data: *mut c_void,
    free_user_data: midge_free_fn,
    out: *mut *mut midge_subscription,
    error: *mut *mut midge_error,
) -> midge_status {
    let user_data = UserData::new(user_data, free_user_data);
    guard!({
        let user_data = user_data;
        let out = slot(out, "out")?;
        let broker = held(broker)?;
        let callback = callback.ok_or_else(|| Failure::argument("callback", "is NULL"))?;
        let options = read(options)?;
        let subscription = broker.subscribe_with(topic(filter, "filter")?, &options, move |view| {
            midge_message::lend(view, |message| callback(message, user_data.pointer()));
        })?;
        Ok(out.put_handle(midge_subscription { kind: Kind::Callback(subscription) }))
    }, concerns broker, tells error)
}

/// Ends a subscription and frees its handle. NULL is taken. In a forked child nothing is done.
///
/// Of a callback: no call begins after this returns, and one that runs on another thread is waited for, so do not hold
/// a lock that the callback takes. It may be called by the callback itself, or by one for whose end the callback waits, as
/// when two free each other's subscription; then `free_user_data` follows when the callback returns. Of a queue: messages that wait in the queue stay there.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn midge_subscription_free(subscription: *mut midge_subscription) {
    guard!(
        {
            if subscription.as_ref().is_some_and(|subscription| !subscription.is_forked()) {
                free(subscription);
            }
        },
        else ()
    );
}

/// Whether a text is a topic filter that can be subscribed to, as far as MQTT says: OK, or TOPIC with a sentence.
///
/// Errors: TOPIC; INVALID_ARGUMENT for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn midge_filter_check(
    filter: *const c_char,
    error: *mut *mut midge_error,
) -> midge_status {
    guard!({
        let filter = topic(filter, "filter")?;
        TopicFilter::parse(filter).map_err(|cause| Error::Filter { filter: filter.to_owned(), cause })?;
        Ok(MIDGE_STATUS_OK)
    }, tells error)
}

/// The options as floor 7 takes them.
///
/// # Safety
/// `given` is NULL or points to live options.
pub(super) unsafe fn read(given: *const midge_subscribe_options) -> Result<SubscribeOptions, Failure> {
    // SAFETY: the caller's.
    let given = unsafe { options(given) }?;
    if given.reserved != 0 {
        return Err(Failure::argument("reserved", "is not 0"));
    }
    Ok(SubscribeOptions {
        direct: flag(given.direct, "direct")?,
        qos: qos(given.qos)?,
        no_local: flag(given.no_local, "no_local")?,
        retain_as_published: flag(given.retain_as_published, "retain_as_published")?,
        retain_handling: match given.retain_handling {
            MIDGE_RETAIN_SEND => RetainHandling::SendAlways,
            MIDGE_RETAIN_SEND_IF_NEW => RetainHandling::SendIfNew,
            MIDGE_RETAIN_DO_NOT_SEND => RetainHandling::DoNotSend,
            other => {
                return Err(Failure::argument("retain_handling", &format!("{other} is not 0, 1 or 2")));
            }
        },
        identifier: u32::try_from(given.identifier).map_err(|_| {
            Failure::argument("identifier", &format!("{} is not 0 to 268435455", given.identifier))
        })?,
    })
}
