//! Queues: a thread of the host takes messages out, in batches.

use std::ffi::c_char;
use std::os::fd::AsRawFd;
use std::sync::OnceLock;

use crate::embed::{Batch, Overflow, Polled, Queue, QueueOptions};
use crate::ffi::arguments::{
    Growing, borrowed, borrowed_or_null, free, given, milliseconds, options, slot, topic,
};
use crate::ffi::broker::{live, midge_broker};
use crate::ffi::error::midge_error;
use crate::ffi::guard::{Concerned, Failure, guard};
use crate::ffi::message::midge_message;
use crate::ffi::status::{
    MIDGE_STATUS_CLOSED, MIDGE_STATUS_FORKED, MIDGE_STATUS_OK, MIDGE_STATUS_TIMED_OUT, midge_status,
};
use crate::ffi::subscribe::{midge_subscribe_options, midge_subscription, read};
use crate::ffi::views::{midge_bytes, midge_message_view};

/// A message for which a queue has no room is dropped and counted.
pub const MIDGE_OVERFLOW_DROP_NEWEST: i32 = 0;
/// The oldest messages of a full queue are dropped and counted, until the new one fits.
pub const MIDGE_OVERFLOW_DROP_OLDEST: i32 = 1;

/// The bounds of a queue. Begin with MIDGE_QUEUE_OPTIONS_INIT.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct midge_queue_options {
    /// Set by MIDGE_QUEUE_OPTIONS_INIT.
    pub struct_size: usize,
    /// Messages that wait at most; 0 is the setting queue.capacity.
    pub capacity: usize,
    /// Bytes that they occupy at most; 0 is the setting queue.max_bytes.
    pub max_bytes: usize,
    /// A MIDGE_OVERFLOW_... constant.
    pub overflow: i32,
    /// 0.
    pub reserved: i32,
}

// SAFETY: `repr(C)`, `struct_size` first, then integers only.
unsafe impl Growing for midge_queue_options {
    const DEFAULT: Self = Self {
        struct_size: size_of::<Self>(),
        capacity: 0,
        max_bytes: 0,
        overflow: MIDGE_OVERFLOW_DROP_NEWEST,
        reserved: 0,
    };
}

/// A bounded queue of messages for the host. It belongs to the caller, who frees it by midge_queue_free. It may have
/// any number of subscriptions, and any number of threads may poll it: each message goes to one of them.
pub struct midge_queue {
    queue: Queue,
}

/// Messages that were taken from a queue together. It belongs to the caller, who frees it by midge_batch_free, on any
/// thread, before or after the queue and the broker.
pub struct midge_batch {
    batch: Batch,
    messages: OnceLock<Vec<midge_message>>,
    views: OnceLock<Vec<midge_message_view>>,
}

// SAFETY: the pointers in the views point into what `batch` keeps, which never changes.
unsafe impl Send for midge_batch {}
// SAFETY: as above.
unsafe impl Sync for midge_batch {}

impl Concerned for midge_queue {
    fn abandon(&self) {
        self.queue.abandon();
    }
}

/// Makes a queue without subscriptions. `options` NULL is the settings of the broker.
///
/// Errors: STATE; FORKED; INVALID_ARGUMENT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn midge_queue_new(
    broker: *mut midge_broker,
    options: *const midge_queue_options,
    out: *mut *mut midge_queue,
) -> midge_status {
    guard!({
        let out = slot(out, "out")?;
        let queue = live(broker)?.queue(&bounds(options)?)?;
        Ok(out.put_handle(midge_queue { queue }))
    }, concerns broker)
}

/// Puts the messages of a topic filter into the queue. Each carries `tag`. Retained messages are in when this
/// returns; they leave half of the queue free for new ones, and if there are more they follow as messages are taken.
/// `options` NULL is the defaults.
///
/// Errors: TOPIC; STATE; FORKED; INVALID_ARGUMENT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn midge_queue_subscribe(
    queue: *mut midge_queue,
    filter: *const c_char,
    options: *const midge_subscribe_options,
    tag: u64,
    out: *mut *mut midge_subscription,
    error: *mut *mut midge_error,
) -> midge_status {
    guard!({
        let out = slot(out, "out")?;
        let queue = known(queue)?;
        queue.check()?;
        let subscription = queue.subscribe(topic(filter, "filter")?, &read(options)?, tag)?;
        Ok(out.put_handle(midge_subscription::of_queue(subscription)))
    }, concerns queue, tells error)
}

/// Takes up to `max` messages, at least one, and waits up to `timeout_ms` milliseconds for the first (0: does not
/// wait; less than 0: for ever).
///
/// Returns OK; TIMED_OUT; CLOSED when the broker has stopped or the queue was closed, and every message was taken.
/// Errors: FORKED; INVALID_ARGUMENT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn midge_queue_poll(
    queue: *mut midge_queue,
    max: usize,
    timeout_ms: i32,
    out: *mut *mut midge_batch,
) -> midge_status {
    guard!({
        let out = slot(out, "out")?;
        if max == 0 {
            return Err(Failure::argument("max", "is 0"));
        }
        // A copy, so that the handle may be freed while this waits.
        let queue = known(queue)?.clone();
        Ok(match queue.poll(max, milliseconds(timeout_ms)) {
            Polled::Messages(batch) => {
                out.put_handle(midge_batch::of(batch))
            }
            Polled::TimedOut => MIDGE_STATUS_TIMED_OUT,
            Polled::Closed => MIDGE_STATUS_CLOSED,
        })
    }, concerns queue)
}

/// A file descriptor for event loops (poll, epoll, select, asyncio): readable while messages wait, and for good once
/// the queue is closed. It is made at the first call, is the same at every call, and costs nothing if it is never
/// asked for. It belongs to the queue, lives until midge_queue_free, is close-on-exec, and is only to be watched: do
/// not read, write or close it.
///
/// Readability is a level, not an edge: it goes away in the midge_queue_poll that takes the last message, or that
/// finds none, unless a message came in between. While another thread polls, it may be seen readable although nothing
/// waits, so call midge_queue_poll with the timeout 0 and take TIMED_OUT for an answer; and call it again, or return
/// to the event loop, after each batch. In an edge-triggered epoll, poll until TIMED_OUT.
///
/// A forked child must not watch a descriptor that it got from its parent, for it shows the parent's queue; it may
/// close it.
///
/// Errors: IO if there are no more descriptors; FORKED; INVALID_ARGUMENT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn midge_queue_fd(queue: *mut midge_queue, out: *mut i32) -> midge_status {
    guard!({
        let out = slot(out, "out")?;
        Ok(out.put(known(queue)?.fd()?.as_raw_fd()))
    }, concerns queue)
}

/// Ends a queue: no message is put in any more, and whoever polls is told CLOSED when it is empty. A second time does
/// nothing.
///
/// Errors: FORKED; INVALID_ARGUMENT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn midge_queue_close(queue: *mut midge_queue) -> midge_status {
    guard!({
        known(queue)?.close();
        Ok(MIDGE_STATUS_OK)
    }, concerns queue)
}

/// Messages that wait. 0 for NULL and in a forked child.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn midge_queue_len(queue: *const midge_queue) -> usize {
    guard!({ known(queue).map_or(0, Queue::len) }, else 0)
}

/// Messages that were dropped because the queue was full. 0 for NULL and in a forked child.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn midge_queue_dropped(queue: *const midge_queue) -> u64 {
    guard!({ known(queue).map_or(0, Queue::dropped) }, else 0)
}

/// Closes a queue and frees its handle; a thread that waits in midge_queue_poll is told CLOSED. NULL is taken. In a
/// forked child nothing is done. The queue's subscriptions stay valid and are to be freed by the caller, before or
/// after.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn midge_queue_free(queue: *mut midge_queue) {
    guard!(
        {
            if let Ok(known) = known(queue) {
                known.close();
                free(queue);
            }
        },
        else ()
    );
}

/// The number of messages. 0 for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn midge_batch_count(batch: *const midge_batch) -> usize {
    guard!({ batch.as_ref().map_or(0, |batch| batch.batch.len()) }, else 0)
}

/// The message at `index`, from 0. It lives as long as the batch and must not be freed. NULL beyond the last.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn midge_batch_at(batch: *const midge_batch, index: usize) -> *const midge_message {
    guard!(
        {
            batch
                .as_ref()
                .and_then(|batch| batch.messages().get(index))
                .map_or(std::ptr::null(), std::ptr::from_ref)
        },
        else std::ptr::null()
    )
}

/// All messages as one array, for languages to which a call is dear: `*count` rows, each `*stride` bytes after the
/// one before (a later version may have longer rows). The rows live as long as the batch. `stride` and `count` may be
/// NULL. NULL for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn midge_batch_views(
    batch: *const midge_batch,
    stride: *mut usize,
    count: *mut usize,
) -> *const midge_message_view {
    guard!(
        {
            let views = batch.as_ref().map(midge_batch::views);
            if let Some(stride) = stride.as_mut() {
                *stride = size_of::<midge_message_view>();
            }
            if let Some(count) = count.as_mut() {
                *count = views.map_or(0, <[midge_message_view]>::len);
            }
            views.map_or(std::ptr::null(), <[midge_message_view]>::as_ptr)
        },
        else std::ptr::null()
    )
}

/// The piece of memory into which the pointers of midge_batch_views point, except those of large payloads, which may
/// stand elsewhere: for languages to which a copy is cheap and a call is dear. It lives as long as the batch. NULL for
/// NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn midge_batch_bytes(batch: *const midge_batch) -> midge_bytes {
    guard!({ borrowed_or_null(batch.as_ref().map(|batch| batch.batch.bytes())) }, else midge_bytes::NONE)
}

/// Frees a batch and its messages. NULL is taken.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn midge_batch_free(batch: *mut midge_batch) {
    guard!({ free(batch) }, else ());
}

/// The queue behind a handle, unless the process was forked.
///
/// # Safety
/// `queue` is NULL or a live handle.
unsafe fn known<'a>(queue: *const midge_queue) -> Result<&'a Queue, Failure> {
    // SAFETY: the caller's.
    let queue = &unsafe { given(queue, "queue") }?.queue;
    if queue.is_forked() { Err(Failure::of(MIDGE_STATUS_FORKED)) } else { Ok(queue) }
}

/// The options as floor 7 takes them.
///
/// # Safety
/// `given` is NULL or points to live options.
unsafe fn bounds(given: *const midge_queue_options) -> Result<QueueOptions, Failure> {
    // SAFETY: the caller's.
    let given = unsafe { options(given) }?;
    if given.reserved != 0 {
        return Err(Failure::argument("reserved", "is not 0"));
    }
    Ok(QueueOptions {
        capacity: (given.capacity != 0).then_some(given.capacity),
        max_bytes: (given.max_bytes != 0).then_some(given.max_bytes),
        overflow: match given.overflow {
            MIDGE_OVERFLOW_DROP_NEWEST => Overflow::DropNewest,
            MIDGE_OVERFLOW_DROP_OLDEST => Overflow::DropOldest,
            other => return Err(Failure::argument("overflow", &format!("{other} is neither 0 nor 1"))),
        },
    })
}

impl midge_batch {
    pub(super) fn of(batch: Batch) -> midge_batch {
        midge_batch { batch, messages: OnceLock::new(), views: OnceLock::new() }
    }

    fn messages(&self) -> &[midge_message] {
        self.messages.get_or_init(|| self.batch.iter().map(|view| midge_message::borrowing(&view)).collect())
    }

    fn views(&self) -> &[midge_message_view] {
        self.views.get_or_init(|| {
            self.batch
                .rows()
                .map(|message| midge_message_view {
                    struct_size: size_of::<midge_message_view>(),
                    topic: borrowed(message.topic),
                    payload: borrowed(message.payload),
                    tag: message.tag,
                    message_expiry_interval: message.expiry_interval.map_or(-1, i64::from),
                    qos: message.qos.as_u8().into(),
                    retained: message.retain.into(),
                    has_properties: i32::from(!message.properties.is_empty()),
                    reserved: 0,
                })
                .collect()
        })
    }
}
