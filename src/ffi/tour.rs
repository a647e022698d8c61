//! The C functions as C calls them, in Rust, so that Miri sees what they do with pointers: `make sanitize KINDS=miri`.

use std::ffi::{CStr, c_char, c_void};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::ffi::arguments::Growing;
use crate::ffi::broker::{
    midge_broker, midge_broker_address, midge_broker_free, midge_broker_listener_at, midge_start, midge_stop,
};
use crate::ffi::config::{
    midge_config, midge_config_clone, midge_config_free, midge_config_get, midge_config_key_at,
    midge_config_key_count, midge_config_new, midge_config_set, midge_setting_at,
};
use crate::ffi::decision::{midge_decision, midge_decision_resolve};
use crate::ffi::edit::{
    midge_edit, midge_edit_add_user_property, midge_edit_set_payload, midge_edit_set_topic,
};
use crate::ffi::error::{midge_error_free, midge_error_message, midge_string_free};
use crate::ffi::hooks::{
    MIDGE_ALLOW, MIDGE_DEFER, midge_config_set_hooks, midge_connect_request, midge_hooks,
    midge_publish_request,
};
use crate::ffi::lists::{midge_broker_clients, midge_clients_at, midge_clients_count, midge_clients_free};
use crate::ffi::message::{
    midge_message, midge_message_clone, midge_message_correlation_data, midge_message_free,
    midge_message_payload, midge_message_topic, midge_message_user_property_at,
    midge_message_user_property_count,
};
use crate::ffi::publish::{
    midge_publish, midge_publish_many, midge_publish_options, midge_publish_owned, midge_user_property,
};
use crate::ffi::queue::{
    midge_batch, midge_batch_at, midge_batch_bytes, midge_batch_count, midge_batch_free, midge_batch_views,
    midge_queue, midge_queue_free, midge_queue_new, midge_queue_poll, midge_queue_subscribe,
};
use crate::ffi::stats::{midge_broker_stats, midge_stat_at, midge_stat_count, midge_stats};
use crate::ffi::status::{MIDGE_STATUS_CONFIG, MIDGE_STATUS_OK};
use crate::ffi::subscribe::{midge_subscribe, midge_subscription, midge_subscription_free};
use crate::ffi::views::{
    midge_bytes, midge_client_view, midge_listener_view, midge_setting_view, midge_stat_view,
};

/// The bytes behind what Midge lends.
///
/// # Safety
/// What is lent is still alive.
unsafe fn host_buffers<'a>(bytes: midge_bytes) -> &'a [u8] {
    if bytes.data.is_null() {
        return b"(none)";
    }
    // SAFETY: the caller's.
    unsafe { std::slice::from_raw_parts(bytes.data.cast(), bytes.len) }
}

fn config() -> *mut midge_config {
    let mut config = null_mut();
    // SAFETY: a live place for the output, and NUL-ended texts.
    unsafe {
        assert_eq!(midge_config_new(&mut config), MIDGE_STATUS_OK);
        for (key, value) in [
            (c"listener.tcp.bind", c"127.0.0.1:0"),
            // Miri takes its time.
            (c"hooks.deadline", c"1h"),
            (c"mqtt.connect_timeout", c"1h"),
        ] {
            let set = midge_config_set(config, key.as_ptr(), value.as_ptr(), null_mut());
            assert_eq!(set, MIDGE_STATUS_OK);
        }
    }
    config
}

fn start(config: *mut midge_config) -> *mut midge_broker {
    let mut broker = null_mut();
    // SAFETY: a live configuration, which is freed once, and a live place for the output.
    unsafe {
        assert_eq!(midge_start(config, &mut broker, null_mut()), MIDGE_STATUS_OK);
        midge_config_free(config);
    }
    broker
}

unsafe extern "C" fn count(user_data: *mut c_void) {
    // SAFETY: the tests give a counter that outlives the broker.
    unsafe { &*user_data.cast::<AtomicU32>() }.fetch_add(1, Ordering::SeqCst);
}

#[test]
fn settings_and_errors() {
    let config = config();
    let (mut copy, mut text, mut error) = (null_mut(), null_mut::<c_char>(), null_mut());
    let mut view = midge_setting_view::DEFAULT;
    // SAFETY: as C would call it: live places for outputs, NUL-ended texts, handles that are freed once.
    unsafe {
        assert_eq!(midge_config_clone(config, &mut copy), MIDGE_STATUS_OK);
        let keys: Vec<*const c_char> =
            (0..midge_config_key_count(copy)).map(|index| midge_config_key_at(copy, index)).collect();
        for key in keys {
            assert_eq!(midge_config_get(copy, key, &mut text, null_mut()), MIDGE_STATUS_OK);
            midge_string_free(text);
        }
        assert_eq!(midge_config_set(copy, c"no".as_ptr(), c"1".as_ptr(), &mut error), MIDGE_STATUS_CONFIG);
        assert!(CStr::from_ptr(midge_error_message(error)).to_str().unwrap().contains("no"));
        midge_error_free(error);
        midge_config_free(copy);
        midge_config_free(config);
        assert_eq!(midge_setting_at(0, &mut view), MIDGE_STATUS_OK);
        assert!(!host_buffers(view.key).is_empty() && !host_buffers(view.help).is_empty());
        // A struct of an older header, of which there is only the beginning.
        let mut old = [3 * size_of::<usize>(), 0, 0];
        assert_eq!(midge_setting_at(0, old.as_mut_ptr().cast()), MIDGE_STATUS_OK);
        assert_eq!(old[2], view.key.len);
    }
}

#[test]
fn messages_batches_and_views_outlive_everything_else() {
    let broker = start(config());
    let (mut queue, mut subscription): (*mut midge_queue, *mut midge_subscription) = (null_mut(), null_mut());
    let (mut batch, mut kept): (*mut midge_batch, *mut midge_message) = (null_mut(), null_mut());
    let given_back = AtomicU32::new(0);
    let large = vec![7u8; 10_000];
    let property = midge_user_property { name: c"name".as_ptr(), value: c"value".as_ptr() };
    let mut options = midge_publish_options::DEFAULT;
    options.correlation_data = c"data".as_ptr().cast();
    options.correlation_data_len = 4;
    options.user_properties = &property;
    options.user_property_count = 1;
    let topics = [c"a".as_ptr(), c"a".as_ptr()];
    let payloads: [*const c_void; 2] = [null(), c"x".as_ptr().cast()];
    let lens = [0, 1];
    // SAFETY: as C would call it; what is borrowed is used while what it is borrowed from lives.
    unsafe {
        assert_eq!(midge_queue_new(broker, null(), &mut queue), MIDGE_STATUS_OK);
        let out = &mut subscription;
        assert_eq!(midge_queue_subscribe(queue, c"#".as_ptr(), null(), 9, out, null_mut()), MIDGE_STATUS_OK);
        let topic = c"a".as_ptr();
        assert_eq!(midge_publish(broker, topic, c"one".as_ptr().cast(), 3, &options), MIDGE_STATUS_OK);
        let (data, counter) = (large.as_ptr().cast(), (&raw const given_back).cast_mut().cast());
        assert_eq!(
            midge_publish_owned(broker, topic, data, large.len(), Some(count), counter, null()),
            MIDGE_STATUS_OK
        );
        let (topics, payloads, lens) = (topics.as_ptr(), payloads.as_ptr(), lens.as_ptr());
        assert_eq!(
            midge_publish_many(broker, topics, payloads, lens, 2, null(), null_mut()),
            MIDGE_STATUS_OK
        );
        assert_eq!(midge_queue_poll(queue, 9, 0, &mut batch), MIDGE_STATUS_OK);
        midge_broker_free(broker);
        midge_subscription_free(subscription);
        midge_queue_free(queue);
        assert_eq!(midge_batch_count(batch), 4);
        let (mut stride, mut rows) = (0, 0);
        let views = midge_batch_views(batch, &mut stride, &mut rows);
        for row in 0..rows {
            let view = &*views.byte_add(row * stride);
            let message = midge_batch_at(batch, row);
            assert_eq!(host_buffers(view.topic), host_buffers(midge_message_topic(message)));
            assert_eq!(host_buffers(view.payload), host_buffers(midge_message_payload(message)));
        }
        assert!(host_buffers(midge_batch_bytes(batch)).starts_with(b"a"));
        assert_eq!(host_buffers((*views.byte_add(stride)).payload), large);
        assert_eq!(midge_message_clone(midge_batch_at(batch, 0), &mut kept), MIDGE_STATUS_OK);
        midge_batch_free(batch);
        assert_eq!(given_back.load(Ordering::SeqCst), 1);
        assert_eq!(host_buffers(midge_message_payload(kept)), b"one");
        assert_eq!(host_buffers(midge_message_correlation_data(kept)), b"data");
        let (mut name, mut value) = (midge_bytes::NONE, midge_bytes::NONE);
        assert_eq!(midge_message_user_property_count(kept), 1);
        assert_eq!(midge_message_user_property_at(kept, 0, &mut name, &mut value), MIDGE_STATUS_OK);
        assert_eq!((host_buffers(name), host_buffers(value)), (&b"name"[..], &b"value"[..]));
        midge_message_free(kept);
    }
}

/// What the hooks and the callback of the next test share.
#[derive(Default)]
struct Host {
    asked: AtomicU32,
    heard: AtomicU32,
    freed: AtomicU32,
}

unsafe extern "C" fn decide_later(
    request: *const midge_connect_request,
    decision: *mut midge_decision,
    user_data: *mut c_void,
) -> i32 {
    // SAFETY: the request lives during the call, the host longer than the broker, and the decision is resolved once.
    unsafe {
        assert_eq!(host_buffers((*request).client_id), b"c");
        (*user_data.cast::<Host>()).asked.fetch_add(1, Ordering::SeqCst);
        let decision = decision.expose_provenance();
        std::thread::spawn(move || {
            let decision = std::ptr::with_exposed_provenance_mut::<midge_decision>(decision);
            assert_eq!(midge_decision_resolve(decision, MIDGE_ALLOW), MIDGE_STATUS_OK);
        });
    }
    MIDGE_DEFER
}

unsafe extern "C" fn change(
    request: *const midge_publish_request,
    edit: *mut midge_edit,
    user_data: *mut c_void,
) -> i32 {
    // SAFETY: both live during the call, and the host longer than the broker.
    unsafe {
        (*user_data.cast::<Host>()).asked.fetch_add(1, Ordering::SeqCst);
        assert_eq!(host_buffers(midge_message_payload((*request).message)), b"x");
        assert_eq!(midge_edit_set_topic(edit, c"changed".as_ptr()), MIDGE_STATUS_OK);
        assert_eq!(midge_edit_set_payload(edit, c"yz".as_ptr().cast(), 2), MIDGE_STATUS_OK);
        assert_eq!(midge_edit_add_user_property(edit, c"n".as_ptr(), c"v".as_ptr()), MIDGE_STATUS_OK);
    }
    MIDGE_ALLOW
}

unsafe extern "C" fn hear(message: *const midge_message, user_data: *mut c_void) {
    // SAFETY: the message lives during the call, the host longer than the broker.
    unsafe {
        assert_eq!(host_buffers(midge_message_topic(message)), b"changed");
        assert_eq!(host_buffers(midge_message_payload(message)), b"yz");
        (*user_data.cast::<Host>()).heard.fetch_add(1, Ordering::SeqCst);
    }
}

unsafe extern "C" fn freed(user_data: *mut c_void) {
    // SAFETY: the host lives longer than the broker.
    unsafe { &*user_data.cast::<Host>() }.freed.fetch_add(1, Ordering::SeqCst);
}

#[test]
fn hooks_callbacks_and_lists() {
    // For ever: a check that fails leaves the broker behind.
    let host: &'static Host = Box::leak(Box::default());
    let user_data = std::ptr::from_ref(host).cast_mut().cast::<c_void>();
    let config = config();
    let mut hooks = midge_hooks::DEFAULT;
    hooks.user_data = user_data;
    hooks.free_user_data = Some(freed);
    hooks.authenticate = Some(decide_later);
    hooks.on_publish = Some(change);
    // SAFETY: live handles.
    assert_eq!(unsafe { midge_config_set_hooks(config, &hooks) }, MIDGE_STATUS_OK);
    let broker = start(config);
    let mut subscription = null_mut();
    let (mut clients, mut client) = (null_mut(), midge_client_view::DEFAULT);
    let (mut listener, mut stats) = (midge_listener_view::DEFAULT, midge_stats::DEFAULT);
    // SAFETY: as C would call it.
    unsafe {
        let out = &mut subscription;
        let called = midge_subscribe(
            broker,
            c"+".as_ptr(),
            null(),
            Some(hear),
            user_data,
            Some(freed),
            out,
            null_mut(),
        );
        assert_eq!(called, MIDGE_STATUS_OK);
        let address = CStr::from_ptr(midge_broker_address(broker, null())).to_str().unwrap();
        assert_eq!(midge_broker_listener_at(broker, 0, &mut listener), MIDGE_STATUS_OK);
        assert_eq!(host_buffers(listener.address), address.as_bytes());
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x00\x00\x01c").unwrap();
        stream.write_all(b"\x32\x06\x00\x01t\x00\x01x").unwrap();
        let mut answers = [0; 8];
        stream.read_exact(&mut answers).unwrap();
        assert_eq!(&answers, b"\x20\x02\x00\x00\x40\x02\x00\x01");
        assert_eq!(midge_broker_clients(broker, &mut clients), MIDGE_STATUS_OK);
        assert_eq!(midge_clients_count(clients), 1);
        assert_eq!(midge_clients_at(clients, 0, &mut client), MIDGE_STATUS_OK);
        assert_eq!(host_buffers(client.client_id), b"c");
        midge_clients_free(clients);
        assert_eq!(midge_broker_stats(broker, &mut stats), MIDGE_STATUS_OK);
        for index in 0..midge_stat_count() {
            let mut stat = midge_stat_view::DEFAULT;
            assert_eq!(midge_stat_at(&stats, index, &mut stat), MIDGE_STATUS_OK);
            assert!(!host_buffers(stat.name).is_empty());
        }
        // What waits for the callback is given to it first.
        assert_eq!(midge_stop(broker, 60_000), MIDGE_STATUS_OK);
        midge_subscription_free(subscription);
        midge_broker_free(broker);
    }
    let counted = [&host.asked, &host.heard, &host.freed].map(|counter| counter.load(Ordering::SeqCst));
    assert_eq!(counted, [2, 1, 2]);
}
