/*
 * midge.h - an MQTT broker that lives inside your program.
 *
 * Written by cbindgen from src/ffi; do not edit.
 *
 * Start:      midge_broker *broker = NULL;
 *             midge_error *error = NULL;
 *             if (midge_start(NULL, &broker, &error) != MIDGE_STATUS_OK) {
 *                 fprintf(stderr, "%s\n", midge_error_message(error));
 *                 midge_error_free(error);
 *             }
 *
 * What holds for all functions:
 *
 * Answers. A midge_status is 0 for success, less than 0 for a failure, more than 0 for an answer that is no failure.
 * Outputs are written only on success (midge_error ones only on failure; `error` may always be NULL).
 *
 * Arguments. Texts are NUL-ended UTF-8, and need to live only during the call. A pointer is valid, or NULL where that
 * is said; NULL elsewhere, and a number out of its range, answer INVALID_ARGUMENT.
 *
 * Handles. What a call gives in `out` belongs to the caller, who frees it once, by the function of its type. Handles
 * may be freed in any order: what still needs another keeps it alive. Freeing NULL does nothing. No other thread may
 * use a handle while it is freed, except to wait in midge_queue_poll, midge_broker_wait or midge_stop.
 *
 * Structs. Only options, views and statistics have fields. Each begins with its size, which its INIT macro sets, and
 * later versions add fields only at the end: what a program's older header does not have is the default; what the
 * library does not know must be zero, or the call answers INVALID_ARGUMENT.
 *
 * Threads. Every call may be made from any thread, except on a midge_config, which one thread at a time may use.
 * Callbacks run on a thread of the broker, one after the other, unless they are direct; hooks run where midge_hooks
 * says. Midge's threads block SIGPIPE, SIGINT, SIGTERM,
 * SIGHUP, SIGUSR1, SIGUSR2, SIGALRM and SIGCHLD, so that the host's threads handle them; no write raises SIGPIPE.
 *
 * Fork. A child process has the broker's memory but not its threads: there every call on a broker, a queue or a
 * subscription answers FORKED, and freeing one does nothing. Configurations, errors, messages, batches and lists are
 * memory only and work as before. A child may start brokers of its own. It gives up the broker's sockets at once, so that
 * it neither holds a port nor a connection. A child that a callback has forked must not return from the callback.
 *
 * Defects. No panic of the library leaves it: the call answers PANIC, and the broker concerned is stopped.
 */


#ifndef MIDGE_H
#define MIDGE_H

#include <stddef.h>
#include <stdint.h>

/** The version of this header; midge_version() tells that of the library. */
#define MIDGE_VERSION "0.1.0"

/** The defaults of each struct, to begin with: `midge_publish_options options = MIDGE_PUBLISH_OPTIONS_INIT;` */
#define MIDGE_PUBLISH_OPTIONS_INIT \
    { sizeof(midge_publish_options), 0, 0, -1, 0, 0, NULL, NULL, NULL, 0, NULL, 0, NULL, NULL }
#define MIDGE_SUBSCRIBE_OPTIONS_INIT { sizeof(midge_subscribe_options), 2, 0, 0, MIDGE_RETAIN_SEND, 0, 0, 0 }
#define MIDGE_HOOKS_INIT { sizeof(midge_hooks), NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL }
#define MIDGE_QUEUE_OPTIONS_INIT { sizeof(midge_queue_options), 0, 0, MIDGE_OVERFLOW_DROP_NEWEST, 0 }
#define MIDGE_BYTES_INIT { NULL, 0 }
#define MIDGE_FAULT_INIT { sizeof(midge_fault), 0, MIDGE_PACKET_ANY, NULL, 0, 1, 0, 0, 0, 0 }
#define MIDGE_LISTENER_VIEW_INIT \
    { sizeof(midge_listener_view), MIDGE_BYTES_INIT, MIDGE_BYTES_INIT, MIDGE_BYTES_INIT, MIDGE_BYTES_INIT, 0, -1, 0, \
      0, 0, 0 }
#define MIDGE_HANDSHAKE_FAILURE_VIEW_INIT { sizeof(midge_handshake_failure_view), MIDGE_BYTES_INIT, 0 }
#define MIDGE_ADOPT_OPTIONS_INIT { sizeof(midge_adopt_options), NULL, NULL }
#define MIDGE_SETTING_VIEW_INIT \
    { sizeof(midge_setting_view), MIDGE_BYTES_INIT, MIDGE_BYTES_INIT, MIDGE_BYTES_INIT, MIDGE_BYTES_INIT, \
      MIDGE_BYTES_INIT }
#define MIDGE_CLIENT_VIEW_INIT \
    { sizeof(midge_client_view), MIDGE_BYTES_INIT, MIDGE_BYTES_INIT, MIDGE_BYTES_INIT, 0, 0, 0, 0, 0, 0, 0, 0, 0, \
      0, 0, 0, -1, -1, -1 }
#define MIDGE_SUBSCRIPTION_VIEW_INIT \
    { sizeof(midge_subscription_view), MIDGE_BYTES_INIT, MIDGE_BYTES_INIT, 0, 0, 0, 0, 0 }
#define MIDGE_STAT_VIEW_INIT \
    { sizeof(midge_stat_view), MIDGE_BYTES_INIT, MIDGE_BYTES_INIT, MIDGE_BYTES_INIT, MIDGE_BYTES_INIT, 0 }
#define MIDGE_STORAGE_STATS_INIT \
    { sizeof(midge_storage_stats), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, \
      0, 0, 0, 0, 0, 0, 0, MIDGE_STORAGE_MEMORY, 0 }
#define MIDGE_STATS_INIT \
    { sizeof(midge_stats), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, \
      0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 }


/**
 * Retained messages that match are delivered when the subscription is made.
 */
#define MIDGE_RETAIN_SEND 0

/**
 * As MIDGE_RETAIN_SEND, if the subscription did not exist; those of the host program never did.
 */
#define MIDGE_RETAIN_SEND_IF_NEW 1

/**
 * Retained messages are not delivered when the subscription is made.
 */
#define MIDGE_RETAIN_DO_NOT_SEND 2

/**
 * A hook's answer: yes.
 */
#define MIDGE_ALLOW 0

/**
 * A hook's answer: no. The client is told 0x86, Bad User Name or Password, if it wants to be let in, otherwise 0x87,
 * Not authorized; older versions of MQTT as far as they can say it.
 */
#define MIDGE_DENY 1

/**
 * A hook's answer: later, by midge_decision_resolve.
 */
#define MIDGE_DEFER 2

/**
 * The verdict of midge_decision_resolve_auth that asks the client for more. No hook answers with it.
 */
#define MIDGE_CONTINUE 3

/**
 * A client wants to publish.
 */
#define MIDGE_ACTION_PUBLISH 0

/**
 * A client wants to subscribe.
 */
#define MIDGE_ACTION_SUBSCRIBE 1

/**
 * The client has sent DISCONNECT.
 */
#define MIDGE_CAUSE_DISCONNECTED 0

/**
 * The peer has closed the connection, or it broke.
 */
#define MIDGE_CAUSE_CONNECTION_LOST 1

/**
 * The client has broken a rule; the reason code says which.
 */
#define MIDGE_CAUSE_REFUSED 2

/**
 * The client was silent for one and a half times its keep alive.
 */
#define MIDGE_CAUSE_KEEP_ALIVE 3

/**
 * The client has connected again.
 */
#define MIDGE_CAUSE_TAKEN_OVER 4

/**
 * The host has kicked the client.
 */
#define MIDGE_CAUSE_KICKED 5

/**
 * The broker stops.
 */
#define MIDGE_CAUSE_STOPPING 6

/**
 * Something has failed that is to work: a hook was too late, or no connection can be accepted.
 */
#define MIDGE_LOG_ERROR 0

/**
 * A client or a message did not get what it wanted: refused, ended for breaking a rule, dropped for want of room.
 */
#define MIDGE_LOG_WARN 1

/**
 * What an operator wants to know: started, stopped, clients that come and go.
 */
#define MIDGE_LOG_INFO 2

/**
 * What helps to find a fault: subscriptions, connections before their CONNECT, messages that nobody wanted.
 */
#define MIDGE_LOG_DEBUG 3

/**
 * A message for which a queue has no room is dropped and counted.
 */
#define MIDGE_OVERFLOW_DROP_NEWEST 0

/**
 * The oldest messages of a full queue are dropped and counted, until the new one fits.
 */
#define MIDGE_OVERFLOW_DROP_OLDEST 1

/**
 * A broker that keeps everything in memory: `storage.path` is not set.
 */
#define MIDGE_STORAGE_MEMORY 0

/**
 * The durable store commits.
 */
#define MIDGE_STORAGE_OK 1

/**
 * The disk refuses something; the durable store tries again by itself.
 */
#define MIDGE_STORAGE_RETRYING 2

/**
 * The durable store has failed, and commits nothing more until the broker is started again.
 */
#define MIDGE_STORAGE_FAILED 3

/**
 * The broker has stopped.
 */
#define MIDGE_STORAGE_CLOSED 4

/**
 * The connections of a listener that is stopped go on.
 */
#define MIDGE_CONNECTIONS_KEEP 0

/**
 * The clients of a listener that is stopped are disconnected.
 */
#define MIDGE_CONNECTIONS_DISCONNECT 1

/**
 * CONNECT is refused with `reason_code`. The client's session is not touched.
 */
#define MIDGE_FAULT_REFUSE 1

/**
 * A packet to the client is lost.
 */
#define MIDGE_FAULT_DROP 2

/**
 * A packet to the client comes `delay_ms` later, in the broker's time: others overtake it meanwhile.
 */
#define MIDGE_FAULT_DELAY 3

/**
 * A packet to the client comes twice.
 */
#define MIDGE_FAULT_DUPLICATE 4

/**
 * The connection is cut (a TCP reset, without DISCONNECT) in place of a packet to the client.
 */
#define MIDGE_FAULT_CUT 5

/**
 * The connection is cut when `bytes` more bytes were sent to the client, in the middle of a packet if it falls so.
 */
#define MIDGE_FAULT_CUT_AFTER_BYTES 6

/**
 * The disk works.
 */
#define MIDGE_DISK_WELL 0

/**
 * Each flush of the log takes `delay_ms`, in the broker's time. What a commit acknowledges waits for it.
 */
#define MIDGE_DISK_SLOW 1

/**
 * No flush of the log ends until the test sets something else, or stops the broker.
 */
#define MIDGE_DISK_HELD 2

/**
 * Every write fails with ENOSPC until the test sets something else. Messages of QoS 1 and 2 are refused at once: with
 * 0x97 in MQTT 5, by the end of the connection in older versions.
 */
#define MIDGE_DISK_FULL 3

/**
 * Every write fails with EIO. The store has failed then: nothing is acknowledged until the broker is restarted.
 */
#define MIDGE_DISK_WRITE_ERROR 4

/**
 * Every flush fails with EIO. The store has failed then: nothing is acknowledged until the broker is restarted.
 */
#define MIDGE_DISK_FLUSH_ERROR 5

/**
 * The process ends at once, as by kill -9. The system keeps what was written.
 */
#define MIDGE_CRASH_KILL 1

/**
 * The power fails. What was written and not flushed is lost.
 */
#define MIDGE_CRASH_POWER_CUT 2

/**
 * Packets of every kind.
 */
#define MIDGE_PACKET_ANY 0

/**
 * The answer to CONNECT. The numbers are the packet types of MQTT.
 */
#define MIDGE_PACKET_CONNACK 2

/**
 * A message.
 */
#define MIDGE_PACKET_PUBLISH 3

/**
 * The answer to a QoS 1 message.
 */
#define MIDGE_PACKET_PUBACK 4

/**
 * The first answer to a QoS 2 message.
 */
#define MIDGE_PACKET_PUBREC 5

/**
 * The answer to the client's PUBREC.
 */
#define MIDGE_PACKET_PUBREL 6

/**
 * The last answer to a QoS 2 message.
 */
#define MIDGE_PACKET_PUBCOMP 7

/**
 * The answer to SUBSCRIBE.
 */
#define MIDGE_PACKET_SUBACK 9

/**
 * The answer to UNSUBSCRIBE.
 */
#define MIDGE_PACKET_UNSUBACK 11

/**
 * The answer to PINGREQ.
 */
#define MIDGE_PACKET_PINGRESP 13

/**
 * The broker's goodbye (MQTT 5).
 */
#define MIDGE_PACKET_DISCONNECT 14

/**
 * A step of an enhanced authentication (MQTT 5).
 */
#define MIDGE_PACKET_AUTH 15

/**
 * Messages that were taken from a queue together. It belongs to the caller, who frees it by midge_batch_free, on any
 * thread, before or after the queue and the broker.
 */
typedef struct midge_batch midge_batch;

/**
 * A broker in this process. It belongs to the caller, who frees it by midge_broker_free.
 */
typedef struct midge_broker midge_broker;

/**
 * The clients of a broker at one moment. It belongs to the caller, who frees it by midge_clients_free.
 */
typedef struct midge_clients midge_clients;

/**
 * The settings of a broker. It belongs to the caller, who frees it by midge_config_free. One thread at a time may
 * use it. A broker keeps a copy of its own.
 */
typedef struct midge_config midge_config;

/**
 * A decision that a hook has answered with MIDGE_DEFER. It belongs to the host, who resolves or frees it once, on any
 * thread. Meanwhile the client's packets wait in their order, and those of other clients do not. What is not decided
 * within the setting hooks.deadline is denied.
 */
typedef struct midge_decision midge_decision;

/**
 * A client's message before it is published. It is lent to `on_publish`: it lives until that returns, and only the
 * thread that was called may use it. What is set takes the place of what the client sent.
 */
typedef struct midge_edit midge_edit;

/**
 * Why a call failed. It belongs to the caller, who frees it by midge_error_free.
 */
typedef struct midge_error midge_error;

/**
 * The listeners of a broker at one moment. It belongs to the caller, who frees it by midge_listeners_free.
 */
typedef struct midge_listeners midge_listeners;

/**
 * A received message. One that a callback or a batch lends is not freed; one from midge_message_clone belongs to the
 * caller, who frees it by midge_message_free. Any thread may read it.
 */
typedef struct midge_message midge_message;

/**
 * A bounded queue of messages for the host. It belongs to the caller, who frees it by midge_queue_free. It may have
 * any number of subscriptions, and any number of threads may poll it: each message goes to one of them.
 */
typedef struct midge_queue midge_queue;

/**
 * Messages of a session's queue at one moment. It belongs to the caller, who frees it by midge_queued_free.
 */
typedef struct midge_queued midge_queued;

/**
 * The retained messages of a broker at one moment. It belongs to the caller, who frees it by midge_retained_free.
 */
typedef struct midge_retained midge_retained;

/**
 * A subscription of the host, of a callback or of a queue. It belongs to the caller, who frees it by
 * midge_subscription_free.
 */
typedef struct midge_subscription midge_subscription;

/**
 * The subscriptions of a broker at one moment. It belongs to the caller, who frees it by midge_subscriptions_free.
 */
typedef struct midge_subscriptions midge_subscriptions;

/**
 * What a call answers: 0 is success, less than 0 a failure, more than 0 an answer that is no failure.
 */
typedef int32_t midge_status;

/**
 * Bytes that Midge lends: a text is UTF-8 and does not end with NUL. `data` is NULL if there is no value at all;
 * an empty value has a `data` that is not NULL, and that must not be read. How long they live stands at the function
 * that returns them.
 */
typedef struct midge_bytes {
    /**
     * The first byte.
     */
    const void *data;
    /**
     * The number of bytes.
     */
    size_t len;
} midge_bytes;

/**
 * One setting of the table of settings.
 */
typedef struct midge_setting_view {
    /**
     * Set by MIDGE_SETTING_VIEW_INIT.
     */
    size_t struct_size;
    /**
     * The key, such as "mqtt.max_qos"; "listener.*.bind" stands for one setting of every listener.
     */
    struct midge_bytes key;
    /**
     * "boolean", "integer", "duration", "size", "choice", "address", "mode", "text" or "secret".
     */
    struct midge_bytes kind;
    /**
     * The default, as text.
     */
    struct midge_bytes default_value;
    /**
     * The values that it takes, in words.
     */
    struct midge_bytes range;
    /**
     * What it does, what it costs, and what is dangerous about it.
     */
    struct midge_bytes help;
} midge_setting_view;

/**
 * One listener of a broker.
 */
typedef struct midge_listener_view {
    /**
     * Set by MIDGE_LISTENER_VIEW_INIT.
     */
    size_t struct_size;
    /**
     * The name in its settings: "tcp" for `listener.tcp.bind`.
     */
    struct midge_bytes name;
    /**
     * The address, such as "127.0.0.1:53412", "[::1]:1883", "unix:/run/midge.sock" or "unix:@midge".
     */
    struct midge_bytes address;
    /**
     * The transport: "tcp", "tls", "ws", "wss" or "auto".
     */
    struct midge_bytes transport;
    /**
     * "accepting", "paused" or "stopped".
     */
    struct midge_bytes state;
    /**
     * The clients that are connected by it.
     */
    uint64_t connections;
    /**
     * The most clients that may be; -1 is no limit.
     */
    int64_t max_connections;
    /**
     * The connections that it has accepted.
     */
    uint64_t accepted;
    /**
     * The connections that were refused because a limit was reached.
     */
    uint64_t refused;
    /**
     * The connections that were closed before their handshake was complete.
     */
    uint64_t handshake_failures;
    /**
     * The number of their reasons, which midge_listeners_failure_at tells.
     */
    uint64_t failure_reasons;
} midge_listener_view;

/**
 * How a connection is adopted. MIDGE_ADOPT_OPTIONS_INIT has the defaults, which are those of midge_broker_adopt_fd.
 */
typedef struct midge_adopt_options {
    /**
     * Set by MIDGE_ADOPT_OPTIONS_INIT.
     */
    size_t struct_size;
    /**
     * The listener whose client it is; NULL is none.
     */
    const char *listener;
    /**
     * What lies between MQTT and the socket: a value of "listener.*.transport", with the other settings of `listener`.
     * NULL is nothing.
     */
    const char *transport;
} midge_adopt_options;

/**
 * A user property to be published: a name and a value, NUL-ended UTF-8. A name may occur more than once.
 */
typedef struct midge_user_property {
    /**
     * The name.
     */
    const char *name;
    /**
     * The value.
     */
    const char *value;
} midge_user_property;

/**
 * How a message is published. Begin with MIDGE_PUBLISH_OPTIONS_INIT, which is QoS 0, not retained, no properties.
 * Midge reads it, and what it points to, during the call only; it writes where `receivers` and `error` say.
 */
typedef struct midge_publish_options {
    /**
     * Set by MIDGE_PUBLISH_OPTIONS_INIT.
     */
    size_t struct_size;
    /**
     * 0, 1 or 2. A subscriber gets the lower of this and its own.
     */
    int32_t qos;
    /**
     * 1: the message becomes the retained message of its topic; with an empty payload it removes that. Otherwise 0.
     */
    int32_t retain;
    /**
     * Seconds after which the message is no longer delivered, 0 to 4294967295; -1: it does not expire.
     */
    int64_t message_expiry_interval;
    /**
     * 1 if the payload is UTF-8 text, for subscribers of MQTT 5; Midge does not check it. Otherwise 0.
     */
    int32_t payload_is_text;
    /**
     * 0.
     */
    int32_t reserved;
    /**
     * What the payload is, such as a MIME type; NULL if it is not said.
     */
    const char *content_type;
    /**
     * The topic for an answer; NULL if none is expected.
     */
    const char *response_topic;
    /**
     * What the answer is to carry; NULL if nothing.
     */
    const void *correlation_data;
    /**
     * Bytes of correlation_data.
     */
    size_t correlation_data_len;
    /**
     * The user properties; NULL if there are none.
     */
    const struct midge_user_property *user_properties;
    /**
     * The number of user properties.
     */
    size_t user_property_count;
    /**
     * Where the number of subscribers that the message was published to goes, clients that are away among them; NULL if
     * it is not asked for. It is written when the call answers OK. Of midge_publish_many it is the sum over its messages.
     */
    size_t *receivers;
    /**
     * Where the error goes that says in words what is wrong, if the call fails. The caller frees it. NULL if it is not
     * asked for.
     */
    struct midge_error **error;
} midge_publish_options;

/**
 * Called once with the `user_data` that is no longer used.
 */
typedef void (*midge_free_fn)(void *user_data);

/**
 * Called once when a message is as safe as midge_publish_acknowledged waits for (`status` is OK), or when the broker
 * has stopped before that (STATE).
 */
typedef void (*midge_acknowledged_fn)(midge_status status, void *user_data);

/**
 * How the host subscribes. Begin with MIDGE_SUBSCRIBE_OPTIONS_INIT: QoS 2 at most, with retained messages.
 */
typedef struct midge_subscribe_options {
    /**
     * Set by MIDGE_SUBSCRIBE_OPTIONS_INIT.
     */
    size_t struct_size;
    /**
     * The highest QoS of a delivery: 0, 1 or 2. Inside the process no message is lost or doubled at any QoS; it is
     * told by midge_message_qos.
     */
    int32_t qos;
    /**
     * 1: messages that the host publishes itself are left out. Otherwise 0.
     */
    int32_t no_local;
    /**
     * 1: RETAIN is passed on as it was published. Otherwise 0.
     */
    int32_t retain_as_published;
    /**
     * A MIDGE_RETAIN_... constant.
     */
    int32_t retain_handling;
    /**
     * A number that comes with each message of this subscription, 1 to 268435455; 0 is none.
     */
    int64_t identifier;
    /**
     * 1: the callback runs on the thread that publishes, as midge_subscribe says; not for queues. Otherwise 0.
     */
    int32_t direct;
    /**
     * 0.
     */
    int32_t reserved;
} midge_subscribe_options;

/**
 * Called with each message of a subscription, on the one thread of the broker that runs all of its callbacks, one
 * after the other (or, with `direct`, on the thread that publishes). The message lives until the callback returns; midge_message_clone keeps it. The callback may
 * publish, subscribe and free subscriptions; it must not throw, and while it runs other callbacks wait.
 */
typedef void (*midge_message_fn)(const struct midge_message *message, void *user_data);

/**
 * How a connection is secured, and which certificate its client has presented. It lives as long as what points to it.
 */
typedef struct midge_tls_view {
    /**
     * The size of the struct.
     */
    size_t struct_size;
    /**
     * "TLS 1.3" or "TLS 1.2".
     */
    struct midge_bytes version;
    /**
     * The cipher suite, such as "TLS13_AES_256_GCM_SHA384".
     */
    struct midge_bytes cipher;
    /**
     * The server's name that the client has asked for (SNI); NULL if it asked for none.
     */
    struct midge_bytes server_name;
    /**
     * The application protocol that was agreed on (ALPN), such as "mqtt"; NULL if none.
     */
    struct midge_bytes protocol;
    /**
     * The subject of the client's certificate, which was verified, such as "CN=device-1,O=Example"; NULL without a
     * certificate, as all that follows but `resumed`.
     */
    struct midge_bytes subject;
    /**
     * The subject's common name; NULL if it has none.
     */
    struct midge_bytes common_name;
    /**
     * The alternative names, each with its kind, separated by line feeds: "DNS:a.example\nIP:192.0.2.1".
     */
    struct midge_bytes names;
    /**
     * The issuer, as the subject.
     */
    struct midge_bytes issuer;
    /**
     * The SHA-256 digest of the certificate in lower-case hexadecimal digits.
     */
    struct midge_bytes fingerprint;
    /**
     * The last second of its validity, in seconds since 1970; 0 without a certificate.
     */
    int64_t not_after;
    /**
     * 1 if the session of an earlier connection was resumed, otherwise 0.
     */
    int32_t resumed;
    /**
     * 0.
     */
    int32_t reserved;
} midge_tls_view;

/**
 * A client that wants to be let in. It lives until the hook returns, with all that it points to.
 */
typedef struct midge_connect_request {
    /**
     * The size of the struct.
     */
    size_t struct_size;
    /**
     * The number of the connection, which no other connection of this broker has.
     */
    uint64_t connection;
    /**
     * The client identifier; empty if the client leaves the choice to the broker.
     */
    struct midge_bytes client_id;
    /**
     * The user name; NULL if it gave none.
     */
    struct midge_bytes username;
    /**
     * The password, any bytes; NULL if it gave none.
     */
    struct midge_bytes password;
    /**
     * The peer's address; NULL if it did not come over a network.
     */
    struct midge_bytes address;
    /**
     * The name of the listener that it came by; NULL if by none.
     */
    struct midge_bytes listener;
    /**
     * 3 (MQTT 3.1), 4 (MQTT 3.1.1) or 5 (MQTT 5).
     */
    int32_t protocol_version;
    /**
     * 1 with Clean Start or Clean Session, otherwise 0.
     */
    int32_t clean_start;
    /**
     * The keep alive that it asks for, in seconds; 0 is none.
     */
    int32_t keep_alive;
    /**
     * 0.
     */
    int32_t reserved;
    /**
     * The method of enhanced authentication that it wants to use (MQTT 5); NULL if none. Then MIDGE_ALLOW refuses it with
     * 0x8C, Bad authentication method, so that a hook that knows passwords only does not let it in unseen: answer with
     * midge_decision_resolve_auth, or deny.
     */
    struct midge_bytes auth_method;
    /**
     * What it says by the method, with CONNECT or AUTH, any bytes; NULL if nothing.
     */
    struct midge_bytes auth_data;
    /**
     * How often it was answered by MIDGE_CONTINUE in this exchange.
     */
    int32_t auth_step;
    /**
     * 1 if it has been let in and authenticates again, otherwise 0. Then `password` is NULL.
     */
    int32_t reauthenticates;
    /**
     * How the connection is secured, with the client's certificate; NULL without TLS.
     */
    const struct midge_tls_view *tls;
    /**
     * The user of the process at the other end of a Unix domain socket, as the system tells it; -1 if it is no such peer.
     */
    int64_t uid;
    /**
     * Its group; -1 as above.
     */
    int64_t gid;
    /**
     * Its number, 0 if the system does not say; -1 as above.
     */
    int64_t pid;
} midge_connect_request;

/**
 * Decides whether a client is let in: MIDGE_ALLOW, MIDGE_DENY, MIDGE_DEFER, or a reason code of MQTT 5, 0x80 and above,
 * which denies with it. Any other number denies. `decision` is of use only with MIDGE_DEFER, which gives it to the host.
 *
 * A client of MQTT 5 may want to authenticate by a method (`auth_method`). The hook then resolves the decision by
 * midge_decision_resolve_auth, at once or later, and answers MIDGE_DEFER. After MIDGE_CONTINUE it is called again with what
 * the client answers, with the same number of the connection, until it lets the client in or denies. The client may
 * authenticate again later; if that fails, its connection ends. A client that goes in the middle is not told of: an
 * exchange has the setting mqtt.connect_timeout to come to an end.
 */
typedef int32_t (*midge_authenticate_fn)(const struct midge_connect_request *request,
                                         struct midge_decision *decision,
                                         void *user_data);

/**
 * A client that wants to publish or to subscribe. It lives until the hook returns, with all that it points to.
 */
typedef struct midge_access_request {
    /**
     * The size of the struct.
     */
    size_t struct_size;
    /**
     * The client identifier; empty with the will of a client that leaves the choice to the broker.
     */
    struct midge_bytes client_id;
    /**
     * The user name; NULL if it gave none.
     */
    struct midge_bytes username;
    /**
     * The peer's address; NULL if it did not come over a network.
     */
    struct midge_bytes address;
    /**
     * The topic name to publish to, or the topic filter, with `$share/<group>/` if it is shared, to subscribe to.
     */
    struct midge_bytes topic;
    /**
     * A MIDGE_ACTION_... constant.
     */
    int32_t action;
    /**
     * The QoS of the message, or the highest one that is asked for.
     */
    int32_t qos;
    /**
     * 1 if the message is to be retained, otherwise 0.
     */
    int32_t retain;
    /**
     * 1 if it is the will of a client that connects, otherwise 0.
     */
    int32_t is_will;
    /**
     * The user of the process at the other end of a Unix domain socket, as the system tells it; -1 if it is no such peer.
     */
    int64_t uid;
    /**
     * Its group; -1 as above.
     */
    int64_t gid;
    /**
     * Its number, 0 if the system does not say; -1 as above.
     */
    int64_t pid;
} midge_access_request;

/**
 * Decides whether a client may publish to a topic or subscribe to a filter, as midge_authenticate_fn does.
 */
typedef int32_t (*midge_authorize_fn)(const struct midge_access_request *request,
                                      struct midge_decision *decision,
                                      void *user_data);

/**
 * A client's message before it is published. It lives until the hook returns, with all that it points to.
 */
typedef struct midge_publish_request {
    /**
     * The size of the struct.
     */
    size_t struct_size;
    /**
     * The client identifier.
     */
    struct midge_bytes client_id;
    /**
     * The user name; NULL if it gave none, and with a will.
     */
    struct midge_bytes username;
    /**
     * The message as the client has sent it. `midge_message_retained` tells whether it is to be retained.
     */
    const struct midge_message *message;
    /**
     * 1 if it is the will of a client that is gone, otherwise 0.
     */
    int32_t is_will;
    /**
     * 0.
     */
    int32_t reserved;
} midge_publish_request;

/**
 * Looks at a client's message, and may change it by `edit`: MIDGE_ALLOW publishes it, any other number drops it; the
 * client is acknowledged as if it had been published.
 */
typedef int32_t (*midge_on_publish_fn)(const struct midge_publish_request *request,
                                       struct midge_edit *edit,
                                       void *user_data);

/**
 * A client that has been let in. It lives until the hook returns, with all that it points to.
 */
typedef struct midge_connection_view {
    /**
     * The size of the struct.
     */
    size_t struct_size;
    /**
     * The number of the connection, which no other connection of this broker has.
     */
    uint64_t connection;
    /**
     * The client identifier, which the broker may have chosen.
     */
    struct midge_bytes client_id;
    /**
     * The user name; NULL if it gave none.
     */
    struct midge_bytes username;
    /**
     * The peer's address; NULL if it did not come over a network.
     */
    struct midge_bytes address;
    /**
     * The name of the listener that it came by; NULL if by none.
     */
    struct midge_bytes listener;
    /**
     * 3 (MQTT 3.1), 4 (MQTT 3.1.1) or 5 (MQTT 5).
     */
    int32_t protocol_version;
    /**
     * 1 with Clean Start or Clean Session, otherwise 0.
     */
    int32_t clean_start;
    /**
     * 1 if it has resumed a session, otherwise 0.
     */
    int32_t session_present;
    /**
     * The keep alive in force, in seconds; 0 is none.
     */
    int32_t keep_alive;
    /**
     * How the connection is secured, with the client's certificate; NULL without TLS.
     */
    const struct midge_tls_view *tls;
    /**
     * The user of the process at the other end of a Unix domain socket, as the system tells it; -1 if it is no such peer.
     */
    int64_t uid;
    /**
     * Its group; -1 as above.
     */
    int64_t gid;
    /**
     * Its number, 0 if the system does not say; -1 as above.
     */
    int64_t pid;
} midge_connection_view;

/**
 * Is told of a client that has been let in.
 */
typedef void (*midge_on_connected_fn)(const struct midge_connection_view *view, void *user_data);

/**
 * A client whose connection has ended. It lives until the hook returns, with all that it points to.
 */
typedef struct midge_disconnection_view {
    /**
     * The size of the struct.
     */
    size_t struct_size;
    /**
     * The number of the connection.
     */
    uint64_t connection;
    /**
     * The client identifier.
     */
    struct midge_bytes client_id;
    /**
     * Why it has ended, in words; empty if the cause says it all.
     */
    struct midge_bytes why;
    /**
     * A MIDGE_CAUSE_... constant.
     */
    int32_t cause;
    /**
     * With MIDGE_CAUSE_REFUSED the reason code of MQTT 5, otherwise 0.
     */
    int32_t reason_code;
} midge_disconnection_view;

/**
 * Is told of a client whose connection has ended.
 */
typedef void (*midge_on_disconnected_fn)(const struct midge_disconnection_view *view, void *user_data);

/**
 * A subscription of a client or of the host program.
 */
typedef struct midge_subscription_view {
    /**
     * Set by MIDGE_SUBSCRIPTION_VIEW_INIT.
     */
    size_t struct_size;
    /**
     * The topic filter, with `$share/<group>/` if it is shared.
     */
    struct midge_bytes filter;
    /**
     * The client identifier; NULL for the host program.
     */
    struct midge_bytes client_id;
    /**
     * The subscription identifier; 0 is none.
     */
    int64_t identifier;
    /**
     * The highest QoS of a delivery: 0, 1 or 2.
     */
    int32_t qos;
    /**
     * 1 if messages that the subscriber publishes itself are left out, otherwise 0.
     */
    int32_t no_local;
    /**
     * 1 if RETAIN is passed on as it was published, otherwise 0.
     */
    int32_t retain_as_published;
    /**
     * A MIDGE_RETAIN_... constant.
     */
    int32_t retain_handling;
} midge_subscription_view;

/**
 * Is told that a client has subscribed or unsubscribed; of the latter only the filter and the client are told. The end
 * of a session is no unsubscribing.
 */
typedef void (*midge_on_subscription_fn)(const struct midge_subscription_view *view, void *user_data);

/**
 * A message that was delivered or dropped. It lives until the hook returns, with all that it points to.
 */
typedef struct midge_delivery_view {
    /**
     * The size of the struct.
     */
    size_t struct_size;
    /**
     * The client that has it, or that does not get it, or that has published it if nobody does; NULL for the host.
     */
    struct midge_bytes client_id;
    /**
     * The topic name; empty if it was dropped while it was on the disk alone (`storage.memory`).
     */
    struct midge_bytes topic;
    /**
     * Why it was dropped, such as "queue_full", as in the statistics "messages_dropped_..."; NULL if it was delivered.
     */
    struct midge_bytes reason;
    /**
     * The QoS of the delivery; -1 if it was dropped.
     */
    int32_t qos;
    /**
     * 0.
     */
    int32_t reserved;
} midge_delivery_view;

/**
 * Is told of a message that was delivered or dropped.
 */
typedef void (*midge_on_delivery_fn)(const struct midge_delivery_view *view, void *user_data);

/**
 * Functions of the host, any of which may be NULL: then everybody is let in, everything is allowed, nothing is told,
 * and it costs nothing. Begin with MIDGE_HOOKS_INIT.
 *
 * They are called on the broker's threads, and on a thread of the host that publishes. They may publish, subscribe,
 * kick and ask for statistics; midge_stop answers IN_CALLBACK. They must not block, for the thread serves others, must
 * not throw, and must not wait for what the broker is to do meanwhile. The first three are called on several threads at
 * once, the others one after the other, in the order in which things have happened.
 */
typedef struct midge_hooks {
    /**
     * Set by MIDGE_HOOKS_INIT.
     */
    size_t struct_size;
    /**
     * What each function is given.
     */
    void *user_data;
    /**
     * Called once with `user_data` when no function will be called any more: when the configuration, its copies, and
     * the brokers that were started with them are freed, with their queues and subscriptions.
     */
    midge_free_fn free_user_data;
    /**
     * The client that is let in.
     */
    midge_authenticate_fn authenticate;
    /**
     * What clients may publish and subscribe to. The will of a client is asked about when it connects.
     */
    midge_authorize_fn authorize;
    /**
     * What becomes of the messages and wills of clients. Messages of the host pass without.
     */
    midge_on_publish_fn on_publish;
    /**
     * A client has been let in.
     */
    midge_on_connected_fn on_connected;
    /**
     * A client's connection has ended.
     */
    midge_on_disconnected_fn on_disconnected;
    /**
     * A client has subscribed.
     */
    midge_on_subscription_fn on_subscribed;
    /**
     * A client has unsubscribed.
     */
    midge_on_subscription_fn on_unsubscribed;
    /**
     * A client has a message: one of QoS 0 was sent to it, another it has acknowledged.
     */
    midge_on_delivery_fn on_delivered;
    /**
     * A message was dropped, once for each receiver.
     */
    midge_on_delivery_fn on_dropped;
} midge_hooks;

/**
 * A line of the log. It lives until the function returns, with all that it points to.
 */
typedef struct midge_log_view {
    /**
     * The size of the struct.
     */
    size_t struct_size;
    /**
     * What has happened, one line, with the client. What clients have named stands in quotes, with escapes.
     */
    struct midge_bytes text;
    /**
     * The client that it is about; NULL if it is about none.
     */
    struct midge_bytes client_id;
    /**
     * A MIDGE_LOG_... constant.
     */
    int32_t level;
    /**
     * 0.
     */
    int32_t reserved;
} midge_log_view;

/**
 * Is given a line of the log.
 */
typedef void (*midge_log_fn)(const struct midge_log_view *line, void *user_data);

/**
 * The bounds of a queue. Begin with MIDGE_QUEUE_OPTIONS_INIT.
 */
typedef struct midge_queue_options {
    /**
     * Set by MIDGE_QUEUE_OPTIONS_INIT.
     */
    size_t struct_size;
    /**
     * Messages that wait at most; 0 is the setting queue.capacity.
     */
    size_t capacity;
    /**
     * Bytes that they occupy at most; 0 is the setting queue.max_bytes.
     */
    size_t max_bytes;
    /**
     * A MIDGE_OVERFLOW_... constant.
     */
    int32_t overflow;
    /**
     * 0.
     */
    int32_t reserved;
} midge_queue_options;

/**
 * A message as a row of midge_batch_views.
 */
typedef struct midge_message_view {
    /**
     * The size of a row.
     */
    size_t struct_size;
    /**
     * The topic name.
     */
    struct midge_bytes topic;
    /**
     * The payload.
     */
    struct midge_bytes payload;
    /**
     * The tag of the queue's subscription that the message came by.
     */
    uint64_t tag;
    /**
     * Seconds that were left to the message when it was queued; -1 if it does not expire.
     */
    int64_t message_expiry_interval;
    /**
     * The QoS of the delivery: 0, 1 or 2.
     */
    int32_t qos;
    /**
     * 1 if the message was retained when the subscription was made (or, with `retain_as_published`, if it was
     * published so), otherwise 0.
     */
    int32_t retained;
    /**
     * 1 if the message has a content type, a response topic, correlation data, user properties, subscription
     * identifiers or a payload that is marked as text, which midge_batch_at and midge_message_... tell; otherwise 0.
     */
    int32_t has_properties;
    /**
     * 0.
     */
    int32_t reserved;
} midge_message_view;

/**
 * The statistics of a broker at one moment. Begin with MIDGE_STATS_INIT. What midge_stat_at knows, it knows from the
 * same table that documents and topics below $SYS are written from.
 */
typedef struct midge_stats {
    /**
     * Set by MIDGE_STATS_INIT.
     */
    size_t struct_size;
    /**
     * How long the broker has been running, in milliseconds.
     */
    uint64_t uptime_ms;
    /**
     * When the broker started, in seconds since 1970.
     */
    uint64_t started_unix;
    /**
     * Connections that clients opened.
     */
    uint64_t connections_accepted;
    /**
     * Connections that did not become a client: beyond a limit, or with a CONNECT that was refused, was
     * malformed or came too late.
     */
    uint64_t connections_refused;
    /**
     * Connections that ended, for whatever reason.
     */
    uint64_t connections_closed;
    /**
     * Connections closed because their client connected again.
     */
    uint64_t takeovers;
    /**
     * Connections closed because their client was silent for one and a half times its keep alive.
     */
    uint64_t keep_alive_timeouts;
    /**
     * Connections closed because of a malformed packet or one that the protocol does not allow.
     */
    uint64_t protocol_errors;
    /**
     * MQTT packets of any type received from clients.
     */
    uint64_t packets_received;
    /**
     * MQTT packets of any type sent to clients.
     */
    uint64_t packets_sent;
    /**
     * Bytes received from clients.
     */
    uint64_t bytes_received;
    /**
     * Bytes sent to clients.
     */
    uint64_t bytes_sent;
    /**
     * PUBLISH packets received from clients.
     */
    uint64_t publish_received;
    /**
     * PUBLISH packets sent to clients, with those that were sent again.
     */
    uint64_t publish_sent;
    /**
     * Bytes of payload in the PUBLISH packets received from clients.
     */
    uint64_t publish_bytes_received;
    /**
     * Bytes of payload in the PUBLISH packets sent to clients.
     */
    uint64_t publish_bytes_sent;
    /**
     * PUBLISH packets sent again to a client that came back before it had acknowledged them.
     */
    uint64_t publish_resent;
    /**
     * QoS 1 and QoS 2 messages that clients acknowledged in full, by PUBACK or PUBCOMP.
     */
    uint64_t acknowledgements_received;
    /**
     * QoS 1 and QoS 2 messages that the broker acknowledged in full, by PUBACK or PUBCOMP.
     */
    uint64_t acknowledgements_sent;
    /**
     * Application messages taken from clients, from the host program, and from Wills.
     */
    uint64_t messages_published;
    /**
     * Application messages handed to receivers, clients and subscriptions inside the host program, one for
     * each receiver.
     */
    uint64_t messages_delivered;
    /**
     * Will messages published because a client went without a word.
     */
    uint64_t wills_published;
    /**
     * Sessions that ended because their client did not come back in time.
     */
    uint64_t sessions_expired;
    /**
     * Messages dropped: nobody had subscribed to the topic when the message was published.
     */
    uint64_t messages_dropped_no_subscriber;
    /**
     * Messages dropped: the subscriber was away, and QoS 0 messages do not wait for it unless
     * session.queue_qos0 is on.
     */
    uint64_t messages_dropped_offline;
    /**
     * Messages dropped: the session of the subscriber already held session.max_queued_messages messages or
     * session.max_queued_bytes bytes.
     */
    uint64_t messages_dropped_queue_full;
    /**
     * Messages dropped: the subscriber read too slowly, and session.max_outbox_bytes were waiting to be
     * written to it.
     */
    uint64_t messages_dropped_outbox_full;
    /**
     * Messages dropped: the message was larger than the Maximum Packet Size that the subscriber takes.
     */
    uint64_t messages_dropped_packet_too_large;
    /**
     * Messages dropped: the Message Expiry Interval ended before the message could be delivered.
     */
    uint64_t messages_dropped_expired;
    /**
     * Messages dropped: a client published below $SYS, where only the broker may, or where the host program does
     * not allow it.
     */
    uint64_t messages_dropped_not_authorized;
    /**
     * Messages dropped: the message was delivered but not retained, because of retained.max_messages or
     * retained.max_bytes.
     */
    uint64_t messages_dropped_retained_full;
    /**
     * Messages dropped: a queue inside the host program was not emptied fast enough.
     */
    uint64_t messages_dropped_local_queue_full;
    /**
     * Messages dropped: the message was waiting in a session that expired, was replaced by a clean one, or was ended.
     */
    uint64_t messages_dropped_session_ended;
    /**
     * Clients that are connected.
     */
    uint64_t clients_connected;
    /**
     * Sessions, of connected clients and of clients that are away.
     */
    uint64_t sessions;
    /**
     * Subscriptions of all sessions and of the host program.
     */
    uint64_t subscriptions;
    /**
     * Topics with a retained message.
     */
    uint64_t retained_messages;
    /**
     * Bytes of the retained messages.
     */
    uint64_t retained_bytes;
    /**
     * Messages that wait for clients that are away or busy, one for each of them.
     */
    uint64_t messages_queued;
    /**
     * Largest number of clients that were connected at the same time.
     */
    uint64_t clients_maximum;
    /**
     * Calls of a function of the host program that failed, and decisions that it had not made in time; each
     * decision of these is a denial.
     */
    uint64_t hooks_failed;
    /**
     * Notices for the host program that were lost because hooks.max_waiting others waited.
     */
    uint64_t notices_lost;
    /**
     * Messages dropped: the host program looked at the message and dropped it.
     */
    uint64_t messages_dropped_host;
    /**
     * Messages dropped: the host program or an administrator cleared the queue that the message was waiting in.
     */
    uint64_t messages_dropped_cleared;
} midge_stats;

/**
 * One statistic of the table of statistics.
 */
typedef struct midge_stat_view {
    /**
     * Set by MIDGE_STAT_VIEW_INIT.
     */
    size_t struct_size;
    /**
     * The name, such as "messages_dropped_no_subscriber".
     */
    struct midge_bytes name;
    /**
     * "counter" if it only grows, or "gauge".
     */
    struct midge_bytes kind;
    /**
     * The topic that it is published to; NULL if to none.
     */
    struct midge_bytes sys_topic;
    /**
     * What is counted, in which unit.
     */
    struct midge_bytes help;
    /**
     * Its value in the statistics that were given; 0 if none were.
     */
    uint64_t value;
} midge_stat_view;

/**
 * The durable store of a broker at one moment. Begin with MIDGE_STORAGE_STATS_INIT. Counters count since the broker was
 * started. Everything is 0 without a durable store.
 */
typedef struct midge_storage_stats {
    /**
     * Set by MIDGE_STORAGE_STATS_INIT.
     */
    size_t struct_size;
    /**
     * Groups of changes that were committed, each by one write and one flush.
     */
    uint64_t commits;
    /**
     * Changes in these groups: a queued message, a subscription and an acknowledgement are one each.
     */
    uint64_t committed_changes;
    /**
     * Bytes of these changes.
     */
    uint64_t committed_bytes;
    /**
     * Checkpoints: the log's changes were written into the tables.
     */
    uint64_t checkpoints;
    /**
     * Milliseconds since the tables were last flushed, or since the store was opened.
     */
    uint64_t checkpoint_age_ms;
    /**
     * Bytes that were written to all files.
     */
    uint64_t written_bytes;
    /**
     * Operations that the disk refused, with attempts that were repeated.
     */
    uint64_t disk_errors;
    /**
     * Acknowledgements, deliveries and calls of the host program that wait for a commit.
     */
    uint64_t waiting_acknowledgements;
    /**
     * Bytes of changes that wait for a commit.
     */
    uint64_t waiting_bytes;
    /**
     * Bytes of committed changes that wait for a checkpoint.
     */
    uint64_t unwritten_bytes;
    /**
     * Bytes of the log's two files.
     */
    uint64_t log_bytes;
    /**
     * Bytes of the file with the tables.
     */
    uint64_t tables_bytes;
    /**
     * Groups that were read from the log when the store was opened, because the tables did not have them.
     */
    uint64_t replayed_groups;
    /**
     * Bytes of these groups.
     */
    uint64_t replayed_bytes;
    /**
     * Milliseconds that the opening of the store took.
     */
    uint64_t opening_ms;
    /**
     * Flushes of the log.
     */
    uint64_t flushes;
    /**
     * The time of all flushes together, in microseconds.
     */
    uint64_t flush_total_us;
    /**
     * The time of the longest flush, in microseconds.
     */
    uint64_t flush_longest_us;
    /**
     * Flushes that took at most 100 microseconds.
     */
    uint64_t flushes_to_100us;
    /**
     * Flushes that took at most 250 microseconds, and longer than the bound before; so the following.
     */
    uint64_t flushes_to_250us;
    /**
     * At most 500 microseconds.
     */
    uint64_t flushes_to_500us;
    /**
     * At most 1 millisecond.
     */
    uint64_t flushes_to_1ms;
    /**
     * At most 2.5 milliseconds.
     */
    uint64_t flushes_to_2500us;
    /**
     * At most 5 milliseconds.
     */
    uint64_t flushes_to_5ms;
    /**
     * At most 10 milliseconds.
     */
    uint64_t flushes_to_10ms;
    /**
     * At most 25 milliseconds.
     */
    uint64_t flushes_to_25ms;
    /**
     * At most 50 milliseconds.
     */
    uint64_t flushes_to_50ms;
    /**
     * At most 100 milliseconds.
     */
    uint64_t flushes_to_100ms;
    /**
     * At most 250 milliseconds.
     */
    uint64_t flushes_to_250ms;
    /**
     * At most 500 milliseconds.
     */
    uint64_t flushes_to_500ms;
    /**
     * At most 1 second.
     */
    uint64_t flushes_to_1s;
    /**
     * At most 2.5 seconds.
     */
    uint64_t flushes_to_2500ms;
    /**
     * Longer.
     */
    uint64_t flushes_longer;
    /**
     * How the store works: a MIDGE_STORAGE_... constant.
     */
    int32_t state;
    /**
     * 1 if the store was damaged and begun anew (`storage.on_damage`), otherwise 0.
     */
    int32_t set_aside;
} midge_storage_stats;

/**
 * Why handshakes of a listener have failed.
 */
typedef struct midge_handshake_failure_view {
    /**
     * Set by MIDGE_HANDSHAKE_FAILURE_VIEW_INIT.
     */
    size_t struct_size;
    /**
     * The reason in words.
     */
    struct midge_bytes reason;
    /**
     * How many have failed for it.
     */
    uint64_t count;
} midge_handshake_failure_view;

/**
 * A client that is connected, or whose session waits for it.
 */
typedef struct midge_client_view {
    /**
     * Set by MIDGE_CLIENT_VIEW_INIT.
     */
    size_t struct_size;
    /**
     * The client identifier.
     */
    struct midge_bytes client_id;
    /**
     * The user name, while connected; NULL if it gave none.
     */
    struct midge_bytes username;
    /**
     * The peer's address, while connected; otherwise NULL.
     */
    struct midge_bytes address;
    /**
     * When it connected, in milliseconds since the broker started; -1 if it is not connected.
     */
    int64_t connected_since_ms;
    /**
     * Seconds that the session outlives its connection; -1 is for ever.
     */
    int64_t session_expiry_interval;
    /**
     * Subscriptions of the session.
     */
    uint64_t subscriptions;
    /**
     * Messages that wait for it.
     */
    uint64_t queued;
    /**
     * Messages that it has not yet acknowledged.
     */
    uint64_t inflight;
    /**
     * Application messages received from it.
     */
    uint64_t received_messages;
    /**
     * Application messages sent to it.
     */
    uint64_t sent_messages;
    /**
     * 1 if it is connected, otherwise 0.
     */
    int32_t connected;
    /**
     * The protocol level of the current or last connection: 3 (MQTT 3.1), 4 (MQTT 3.1.1) or 5 (MQTT 5).
     */
    int32_t protocol_version;
    /**
     * 1 if it connected with Clean Start or Clean Session, otherwise 0.
     */
    int32_t clean_start;
    /**
     * The keep alive in force, in seconds; 0 is none.
     */
    int32_t keep_alive;
    /**
     * How the connection is secured, with the client's certificate, while connected; NULL without TLS.
     */
    const struct midge_tls_view *tls;
    /**
     * The user of the process at the other end of a Unix domain socket, as the system tells it, while connected; -1 if it is no such peer.
     */
    int64_t uid;
    /**
     * Its group; -1 as above.
     */
    int64_t gid;
    /**
     * Its number, 0 if the system does not say; -1 as above.
     */
    int64_t pid;
} midge_client_view;

/**
 * Something that goes wrong between a broker in test mode and its clients. Begin with MIDGE_FAULT_INIT: once, for any
 * client, packets of every kind.
 */
typedef struct midge_fault {
    /**
     * Set by MIDGE_FAULT_INIT.
     */
    size_t struct_size;
    /**
     * A MIDGE_FAULT_... constant.
     */
    int32_t action;
    /**
     * A MIDGE_PACKET_... constant: which packets to the client are concerned. MIDGE_PACKET_ANY for
     * MIDGE_FAULT_REFUSE and MIDGE_FAULT_CUT_AFTER_BYTES.
     */
    int32_t packet_type;
    /**
     * The client identifier; NULL is every client.
     */
    const char *client_id;
    /**
     * Packets (or CONNECTs) that it might have met and does not, before the first that it does: 0 or more.
     */
    int64_t after;
    /**
     * How often it strikes; 0 is until it is cleared.
     */
    int64_t count;
    /**
     * For MIDGE_FAULT_DELAY: milliseconds of the broker's time, 0 or more. Otherwise 0.
     */
    int64_t delay_ms;
    /**
     * For MIDGE_FAULT_CUT_AFTER_BYTES: 0 or more. Otherwise 0.
     */
    int64_t bytes;
    /**
     * For MIDGE_FAULT_REFUSE: a reason code of MQTT 5 that CONNACK can carry as a failure, such as 0x87 Not
     * authorized or 0x88 Server unavailable; older clients get the return code that stands for it. Otherwise 0.
     */
    int32_t reason_code;
    /**
     * 0.
     */
    int32_t reserved;
} midge_fault;

/**
 * The call did what it says.
 */
#define MIDGE_STATUS_OK 0

/**
 * The time ran out before there was something to return.
 */
#define MIDGE_STATUS_TIMED_OUT 1

/**
 * The queue has ended, and every message was taken.
 */
#define MIDGE_STATUS_CLOSED 2

/**
 * No client of this name is connected.
 */
#define MIDGE_STATUS_NOT_CONNECTED 3

/**
 * No client of this name has a session.
 */
#define MIDGE_STATUS_NO_SESSION 4

/**
 * An argument is NULL, out of its range, not UTF-8, or too large.
 */
#define MIDGE_STATUS_INVALID_ARGUMENT -1

/**
 * A setting is unknown, has a wrong value, or does not fit to another.
 */
#define MIDGE_STATUS_CONFIG -2

/**
 * A listener's address is in use.
 */
#define MIDGE_STATUS_ADDRESS_IN_USE -3

/**
 * The system refused a file, a socket, a thread or memory.
 */
#define MIDGE_STATUS_IO -4

/**
 * A topic name or a topic filter is not valid.
 */
#define MIDGE_STATUS_TOPIC -5

/**
 * The broker has stopped.
 */
#define MIDGE_STATUS_STATE -6

/**
 * The call would wait for the callback that makes it.
 */
#define MIDGE_STATUS_IN_CALLBACK -7

/**
 * The process was forked from the one that started the broker.
 */
#define MIDGE_STATUS_FORKED -8

/**
 * A defect of Midge was met; the broker concerned is stopped and answers STATE from now on.
 */
#define MIDGE_STATUS_PANIC -9

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/**
 * The version of the library, such as "0.1.0". It may differ from MIDGE_VERSION, that of the header.
 */
const char *midge_version(void);

/**
 * The name of a status, such as "TOPIC"; "UNKNOWN" for a number that is none. Never NULL.
 */
const char *midge_status_name(midge_status status);

/**
 * A status in a few words, such as "the broker has stopped". Never NULL.
 */
const char *midge_status_help(midge_status status);

/**
 * The sentence, which names the key, the argument or the address at fault, such as
 * "listener.tcp.bind: 127.0.0.1:1883: address in use". It lives as long as the error. NULL for NULL.
 */
const char *midge_error_message(const struct midge_error *error);

/**
 * The status that the failed call returned. INVALID_ARGUMENT for NULL.
 */
midge_status midge_error_code(const struct midge_error *error);

/**
 * Frees an error. NULL is taken.
 */
void midge_error_free(struct midge_error *error);

/**
 * Frees a text that a call of Midge has given to the caller as `char *`. NULL is taken.
 */
void midge_string_free(char *text);

/**
 * Makes a configuration with all defaults: one listener, "tcp", on 127.0.0.1:1883.
 *
 * Errors: INVALID_ARGUMENT.
 */
midge_status midge_config_new(struct midge_config **out);

/**
 * Makes a copy of a configuration, with the same hooks and the same log, which the caller frees by midge_config_free.
 *
 * Errors: INVALID_ARGUMENT.
 */
midge_status midge_config_clone(const struct midge_config *config,
                                struct midge_config **out);

/**
 * Gives the setting `key` the value `value`, both as text: "listener.tcp.bind" and "127.0.0.1:0",
 * "mqtt.connect_timeout" and "5s". A listener that does not exist yet is added. A refused value changes nothing.
 *
 * Errors: CONFIG with a sentence that names the key, and the nearest one for a key that does not exist;
 * INVALID_ARGUMENT.
 */
midge_status midge_config_set(struct midge_config *config,
                              const char *key,
                              const char *value,
                              struct midge_error **error);

/**
 * Reads settings from the TOML file at `path`. Settings that it does not name stay as they are; on an error nothing
 * is changed.
 *
 * Errors: IO if the file cannot be read; CONFIG with line and column; INVALID_ARGUMENT.
 */
midge_status midge_config_load_file(struct midge_config *config,
                                    const char *path,
                                    struct midge_error **error);

/**
 * Reads settings from the TOML document `toml`, as midge_config_load_file does. `origin` names the document in
 * errors.
 *
 * Errors: CONFIG with line and column; INVALID_ARGUMENT.
 */
midge_status midge_config_load_text(struct midge_config *config,
                                    const char *toml,
                                    const char *origin,
                                    struct midge_error **error);

/**
 * The value of the setting `key` as text, which midge_config_set takes back. The text belongs to the caller, who
 * frees it by midge_string_free.
 *
 * Errors: CONFIG if there is no such setting; INVALID_ARGUMENT.
 */
midge_status midge_config_get(const struct midge_config *config,
                              const char *key,
                              char **out,
                              struct midge_error **error);

/**
 * The number of keys that the configuration has, those of each listener counted. 0 for NULL.
 */
size_t midge_config_key_count(const struct midge_config *config);

/**
 * The key at `index`, from 0. It lives until the configuration changes or is freed. NULL beyond the last.
 */
const char *midge_config_key_at(const struct midge_config *config, size_t index);

/**
 * Frees a configuration. NULL is taken.
 */
void midge_config_free(struct midge_config *config);

/**
 * The number of settings in the table of all settings.
 */
size_t midge_setting_count(void);

/**
 * Describes the setting at `index`, from 0. The texts live for ever.
 *
 * Errors: INVALID_ARGUMENT, also beyond the last.
 */
midge_status midge_setting_at(size_t index, struct midge_setting_view *out);

/**
 * Starts a broker. When this returns, every listener is bound and takes connections. `config` NULL is the default
 * configuration: one listener on 127.0.0.1:1883. The configuration may be changed or freed afterwards.
 *
 * Errors: ADDRESS_IN_USE; CONFIG; IO; INVALID_ARGUMENT. The sentence names the setting.
 */
midge_status midge_start(const struct midge_config *config,
                         struct midge_broker **out,
                         struct midge_error **error);

/**
 * Stops a broker: no connection is taken any more, clients are told, what waits for clients and callbacks is given to
 * them, for at most `grace_ms` milliseconds (less than 0: the setting runtime.stop_grace); then every thread is
 * joined and every listener closed. From the beginning of the stop on, publishing, subscribing and kicking answer STATE.
 *
 * When this returns, the hooks have been told all that has happened, the end of every connection included, and no hook or
 * callback runs any more or will: one that runs, also on another thread of the host, is waited for without a bound. So do
 * not hold a lock that one of them takes.
 *
 * Stopping a stopped broker does nothing. Several threads may stop it at once, and all of them wait. The handle stays
 * valid; most calls answer STATE from then on.
 *
 * Errors: IN_CALLBACK on a thread of a broker and in a hook; FORKED; INVALID_ARGUMENT.
 */
midge_status midge_stop(struct midge_broker *broker,
                        int32_t grace_ms);

/**
 * Stops a broker that has not been stopped, as midge_stop does with the default grace, and frees its handle. From a
 * callback it returns at once, and the broker stops in the background. NULL is taken. In a forked child nothing is
 * done.
 *
 * Subscriptions and queues of the broker stay valid and are to be freed by the caller, before or after.
 */
void midge_broker_free(struct midge_broker *broker);

/**
 * Asks for a stop: midge_broker_wait returns, now and from now on. It stops nothing itself.
 *
 * It is async-signal-safe: a signal handler may call it, as may a callback.
 *
 * Errors: FORKED; INVALID_ARGUMENT.
 */
midge_status midge_broker_request_stop(struct midge_broker *broker);

/**
 * Waits until midge_broker_request_stop was called or the broker has stopped, for at most `timeout_ms` milliseconds
 * (less than 0: for ever).
 *
 * Returns OK or TIMED_OUT. Errors: IN_CALLBACK on a thread of a broker; FORKED; INVALID_ARGUMENT.
 */
midge_status midge_broker_wait(struct midge_broker *broker,
                               int32_t timeout_ms);

/**
 * The address of the listener `listener` ("tcp"; NULL is the first one) with the port that it has, such as
 * "127.0.0.1:53412" or "[::1]:1883". It lives as long as the broker's handle. NULL if there is no such listener, for
 * a NULL broker, and in a forked child.
 */
const char *midge_broker_address(const struct midge_broker *broker,
                                 const char *listener);

/**
 * The address of the console with the port that it has, such as "127.0.0.1:18083": a browser finds it at "http://" and
 * this. It lives as long as the broker's handle. NULL if `console.listen` is off, for a NULL broker, and in a forked
 * child.
 */
const char *midge_broker_console_address(const struct midge_broker *broker);

/**
 * The number of listeners. 0 for NULL and in a forked child.
 */
size_t midge_broker_listener_count(const struct midge_broker *broker);

/**
 * Describes the listener at `index`, from 0, in the order of the settings; those that were added come last. The texts live
 * as long as the broker's handle. A listener that is stopped leaves its place to the next: midge_broker_listeners makes a
 * list that does not change.
 *
 * Errors: INVALID_ARGUMENT, also beyond the last; FORKED.
 */
midge_status midge_broker_listener_at(const struct midge_broker *broker,
                                      size_t index,
                                      struct midge_listener_view *out);

/**
 * Serves a client on a connected stream socket: a TCP connection that the host has accepted, or one end of a UNIX
 * socketpair. Its client counts as one of `listener`, or with NULL of none, and then only mqtt.max_connections bounds
 * it. The broker needs no listener for that: `listener.tcp.bind` may be "off".
 *
 * On success the descriptor belongs to the broker and is not to be used any more, by no other thread either; on
 * failure it is still the caller's and open. The socket becomes non-blocking, which its duplicates share.
 *
 * Errors: INVALID_ARGUMENT if it is no connected stream socket, or there is no such listener; IO if the limit
 * of connections without a client is reached, or the system refuses; STATE; FORKED.
 */
midge_status midge_broker_adopt_fd(struct midge_broker *broker,
                                   int32_t fd,
                                   const char *listener,
                                   struct midge_error **error);

/**
 * As midge_broker_adopt_fd, with options: a connection that the host has accepted may speak TLS or WebSocket. `options`
 * NULL is the default.
 *
 * Errors: those of midge_broker_adopt_fd; CONFIG if the settings of the listener do not fit the transport;
 * INVALID_ARGUMENT also if there is no such transport, or it needs settings and there is no listener.
 */
midge_status midge_broker_adopt_fd_with(struct midge_broker *broker,
                                        int32_t fd,
                                        const struct midge_adopt_options *options,
                                        struct midge_error **error);

/**
 * Disconnects a client; one that speaks MQTT 5 is told 0x98, Administrative action. Its session stays, as if the
 * connection had broken.
 *
 * Returns OK or NOT_CONNECTED. Errors: STATE; FORKED; INVALID_ARGUMENT.
 */
midge_status midge_broker_kick(struct midge_broker *broker,
                               const char *client_id);

/**
 * Copies the store of the setting storage.path to a directory, which storage.path may name afterwards. The broker goes
 * on meanwhile.
 *
 * The copy has all that was acknowledged before the call, and perhaps some of what came later: the state of one moment.
 * The directory is created if it does not exist, and must not have a store; there is one in it when the copy is whole.
 * The call waits until the copy is on stable storage, so it does not belong into a callback.
 *
 * Errors: IO if the broker has no store, or the store cannot be read; STATE; FORKED; INVALID_ARGUMENT, also if the
 * directory cannot be written or has a store. The sentence names the file or directory.
 */
midge_status midge_broker_backup(struct midge_broker *broker,
                                 const char *path,
                                 struct midge_error **error);

/**
 * Reads the files of all certificates again: of the listeners with TLS, and of the console. New connections get the new
 * certificates; connections that exist stay as they are. The files are also read by themselves, within half a minute after
 * they have changed. The call reads files, so it does not belong into a callback.
 *
 * Errors: CONFIG if a file is missing, malformed, or does not fit the others: for that listener everything stays as it
 * was, and the sentence names the setting and the file. STATE; FORKED; INVALID_ARGUMENT.
 */
midge_status midge_broker_reload_certificates(struct midge_broker *broker,
                                              struct midge_error **error);

/**
 * Reads the files of the authorities again, `access.password_file` and `access.acl_file`. What they say holds at once, for
 * clients that connect from now on and for what those that are connected do. The files are also read by themselves,
 * within half a minute after they have changed. The call reads files, so it does not belong into a callback.
 *
 * Errors: CONFIG if a file is missing or malformed: what it contained before still holds, and the sentence names the
 * setting, the file and the line. STATE; FORKED; INVALID_ARGUMENT.
 */
midge_status midge_broker_reload_access(struct midge_broker *broker,
                                        struct midge_error **error);

/**
 * Publishes a message. When this returns, the message is in the outbox or queue of every subscriber; where it could
 * not be, it is counted as dropped with the reason. `payload` may be NULL if `len` is 0. `options` NULL is the
 * defaults. It may be called from any thread and from callbacks, and does not wait for subscribers. The options say
 * where the number of its receivers goes, and in words what is wrong if it fails.
 *
 * Errors: TOPIC; INVALID_ARGUMENT, also if the topic is below $SYS, where only the broker publishes, or if the message
 * is beyond mqtt.max_topic_length, mqtt.max_topic_levels or mqtt.max_packet_size; STATE; FORKED.
 */
midge_status midge_publish(struct midge_broker *broker,
                           const char *topic,
                           const void *payload,
                           size_t len,
                           const struct midge_publish_options *options);

/**
 * Publishes as midge_publish does, and answers the number of subscribers that the message was published to, clients
 * that are away among them; or less than 0: the midge_status of a failure. It is for languages to which an output is
 * dear; a C program has the option `receivers`.
 *
 * Errors: as midge_publish.
 */
int64_t midge_publish_counted(struct midge_broker *broker,
                              const char *topic,
                              const void *payload,
                              size_t len,
                              const struct midge_publish_options *options);

/**
 * Publishes `count` messages in order, all with the same `options`, as midge_publish does each: for languages to
 * which a call is dear. `topics`, `payloads` and `lens` are arrays of `count` entries; a payload may be NULL if its
 * length is 0. The arrays may be NULL if `count` is 0.
 *
 * `*published` (which may be NULL) is written also on failure: it is the number of messages that were published, and
 * the index of the one that was refused. Those after it were not looked at.
 *
 * Errors: as midge_publish.
 */
midge_status midge_publish_many(struct midge_broker *broker,
                                const char *const *topics,
                                const void *const *payloads,
                                const size_t *lens,
                                size_t count,
                                const struct midge_publish_options *options,
                                size_t *published);

/**
 * Publishes as midge_publish does, and takes the payload over: it is given back by one call of `free_payload` with
 * `user_data` (for a payload of malloc: `free` and the payload itself), when nobody uses it any more or when this
 * fails. `free_payload` may be NULL for a payload that lives as long as the process.
 *
 * A payload of 8 KiB or more is not copied, and must not change until it is given back: subscribers, queues, received
 * messages and the retained message use it, in outboxes as well as in this process. A smaller one is copied, which is
 * cheaper, and given back before this returns. `free_payload` runs on any thread, while no lock of Midge is held; it must
 * not throw, stop a broker or free one. A forked child gives nothing back that its parent has handed over.
 *
 * Errors: as midge_publish.
 */
midge_status midge_publish_owned(struct midge_broker *broker,
                                 const char *topic,
                                 const void *payload,
                                 size_t len,
                                 midge_free_fn free_payload,
                                 void *user_data,
                                 const struct midge_publish_options *options);

/**
 * Publishes as midge_publish does, and waits up to `timeout_ms` milliseconds (less than 0: for ever) until the message
 * is as safe as its QoS and the store promise: of QoS 1 and 2, until the store has committed it for every session
 * that is to get it, and as the retained message. QoS 0 promises nothing, and a broker that keeps everything in memory
 * is as safe at once as it will be, so there nothing is waited for.
 *
 * Returns OK; TIMED_OUT, and then the message is published all the same. Errors: as midge_publish; STATE also if the
 * broker stopped first; IN_CALLBACK on a thread of a broker, before anything is published.
 */
midge_status midge_publish_acknowledged(struct midge_broker *broker,
                                        const char *topic,
                                        const void *payload,
                                        size_t len,
                                        const struct midge_publish_options *options,
                                        int32_t timeout_ms);

/**
 * Publishes as midge_publish does, and has `callback` called once when the message is safe: before this returns and
 * on this thread, if it is safe already, otherwise on a thread of the broker. The callback may publish, subscribe and
 * free subscriptions; it must not throw. If this fails, it is not called.
 *
 * `free_user_data` (which may be NULL) is called exactly once with `user_data`: after the callback, or before this
 * returns if it fails.
 *
 * Errors: as midge_publish.
 */
midge_status midge_publish_with_callback(struct midge_broker *broker,
                                         const char *topic,
                                         const void *payload,
                                         size_t len,
                                         const struct midge_publish_options *options,
                                         midge_acknowledged_fn callback,
                                         void *user_data,
                                         midge_free_fn free_user_data);

/**
 * Whether a text is a topic name that can be published to, as far as MQTT says: OK, or TOPIC with a sentence. The
 * settings of a broker may allow less.
 *
 * Errors: TOPIC; INVALID_ARGUMENT for NULL.
 */
midge_status midge_topic_check(const char *topic,
                               struct midge_error **error);

/**
 * The topic name. It lives as long as the message. NULL for NULL.
 */
struct midge_bytes midge_message_topic(const struct midge_message *message);

/**
 * The payload. It lives as long as the message. NULL for NULL.
 */
struct midge_bytes midge_message_payload(const struct midge_message *message);

/**
 * The QoS of the delivery: 0, 1 or 2. -1 for NULL.
 */
int32_t midge_message_qos(const struct midge_message *message);

/**
 * 1 if the message was retained when the subscription was made (or, with `retain_as_published`, if it was published
 * so), otherwise 0. -1 for NULL.
 */
int32_t midge_message_retained(const struct midge_message *message);

/**
 * The tag of the queue's subscription that the message came by. 0 in a callback, and for NULL.
 */
uint64_t midge_message_tag(const struct midge_message *message);

/**
 * Seconds that were left to the message when it was queued for the host. -1 if it does not expire, and for NULL.
 */
int64_t midge_message_expiry_interval(const struct midge_message *message);

/**
 * 1 if the publisher marked the payload as UTF-8 text, otherwise 0. -1 for NULL.
 */
int32_t midge_message_payload_is_text(const struct midge_message *message);

/**
 * What the payload is, in words of the publisher. It lives as long as the message. NULL if it was not said.
 */
struct midge_bytes midge_message_content_type(const struct midge_message *message);

/**
 * The topic for an answer. It lives as long as the message. NULL if none is expected.
 */
struct midge_bytes midge_message_response_topic(const struct midge_message *message);

/**
 * What the answer must repeat. It lives as long as the message. NULL if nothing.
 */
struct midge_bytes midge_message_correlation_data(const struct midge_message *message);

/**
 * The number of user properties. 0 for NULL.
 */
size_t midge_message_user_property_count(const struct midge_message *message);

/**
 * The name and the value of the user property at `index`, from 0, in the publisher's order. They live as long as the
 * message. `name` and `value` may be NULL.
 *
 * Errors: INVALID_ARGUMENT, also beyond the last.
 */
midge_status midge_message_user_property_at(const struct midge_message *message,
                                            size_t index,
                                            struct midge_bytes *name,
                                            struct midge_bytes *value);

/**
 * All user properties in the publisher's order, by one walk: the first `capacity` names and values are written to the
 * arrays, and how many there are to `count`. They live as long as the message. Each array may be NULL. Reading many by
 * midge_message_user_property_at takes a walk for each.
 *
 * Errors: INVALID_ARGUMENT.
 */
midge_status midge_message_user_properties(const struct midge_message *message,
                                           size_t capacity,
                                           struct midge_bytes *names,
                                           struct midge_bytes *values,
                                           size_t *count);

/**
 * The number of subscription identifiers that came with the message. 0 for NULL.
 */
size_t midge_message_subscription_identifier_count(const struct midge_message *message);

/**
 * The subscription identifier at `index`, from 0. 0 beyond the last, and for NULL.
 */
uint32_t midge_message_subscription_identifier_at(const struct midge_message *message, size_t index);

/**
 * All subscription identifiers, by one walk: the first `capacity` are written to the array, which may be NULL, and how many
 * there are to `count`.
 *
 * Errors: INVALID_ARGUMENT.
 */
midge_status midge_message_subscription_identifiers(const struct midge_message *message,
                                                    size_t capacity,
                                                    uint32_t *identifiers,
                                                    size_t *count);

/**
 * Makes a message that outlives its callback or batch. A large payload is shared, a small one copied.
 *
 * Errors: INVALID_ARGUMENT.
 */
midge_status midge_message_clone(const struct midge_message *message, struct midge_message **out);

/**
 * Frees a message from midge_message_clone. NULL is taken. A message that is lent is left alone.
 */
void midge_message_free(struct midge_message *message);

/**
 * Publishes a received message under its own topic, at its QoS, with its payload and its properties. `retain` is 1
 * or 0, as in midge_publish_options.
 *
 * Errors: as midge_publish.
 */
midge_status midge_publish_message(struct midge_broker *broker,
                                   const struct midge_message *message,
                                   int32_t retain);

/**
 * Subscribes the host to a topic filter. `callback` gets each message; while it runs, messages wait in a queue that
 * the settings queue.capacity and queue.max_bytes bound, beyond which new ones are dropped and counted. `options`
 * NULL is the defaults.
 *
 * With the option `direct` the callback runs on the thread that publishes: inside midge_publish, before that returns,
 * or for the message of a client on a thread of the broker, which serves no client meanwhile. It runs for one message
 * at a time and in order: what other threads publish while it runs, and what it publishes itself, waits in the queue,
 * and the thread that runs it calls it for that, too, before it goes on; nobody waits. After 64 such messages the
 * callback thread goes on in its place. So when midge_publish returns, the callback has been called, unless another call
 * of it was running. In it midge_stop answers IN_CALLBACK, as in every callback; do not hold a lock that it takes while
 * you publish. It does not run any more when midge_stop or midge_subscription_free returns.
 *
 * `free_user_data` (which may be NULL) is called exactly once with `user_data`: after the last call of `callback`, or
 * before this returns if it fails. The callback may run before this returns and `*out` is written.
 *
 * Errors: TOPIC; STATE; FORKED; IO; INVALID_ARGUMENT.
 */
midge_status midge_subscribe(struct midge_broker *broker,
                             const char *filter,
                             const struct midge_subscribe_options *options,
                             midge_message_fn callback,
                             void *user_data,
                             midge_free_fn free_user_data,
                             struct midge_subscription **out,
                             struct midge_error **error);

/**
 * Ends a subscription and frees its handle. NULL is taken. In a forked child nothing is done.
 *
 * Of a callback: no call begins after this returns, and one that runs on another thread is waited for, so do not hold
 * a lock that the callback takes. It may be called by the callback itself, or by one for whose end the callback waits, as
 * when two free each other's subscription; then `free_user_data` follows when the callback returns. Of a queue: messages that wait in the queue stay there.
 */
void midge_subscription_free(struct midge_subscription *subscription);

/**
 * Whether a text is a topic filter that can be subscribed to, as far as MQTT says: OK, or TOPIC with a sentence.
 *
 * Errors: TOPIC; INVALID_ARGUMENT for NULL.
 */
midge_status midge_filter_check(const char *filter,
                                struct midge_error **error);

/**
 * Publishes to another topic. Whether the client may is not asked.
 *
 * Errors: TOPIC; INVALID_ARGUMENT, also below $SYS.
 */
midge_status midge_edit_set_topic(struct midge_edit *edit, const char *topic);

/**
 * Publishes another payload, which is copied. `payload` may be NULL if `len` is 0.
 *
 * Errors: INVALID_ARGUMENT, also if the message is larger than mqtt.max_packet_size and than the client's was.
 */
midge_status midge_edit_set_payload(struct midge_edit *edit,
                                    const void *payload,
                                    size_t len);

/**
 * Publishes with another QoS: 0, 1 or 2. What the client is acknowledged stays as it is.
 *
 * Errors: INVALID_ARGUMENT.
 */
midge_status midge_edit_set_qos(struct midge_edit *edit, int32_t qos);

/**
 * Sets whether the message is retained (1) or not (0).
 *
 * Errors: INVALID_ARGUMENT.
 */
midge_status midge_edit_set_retain(struct midge_edit *edit, int32_t retain);

/**
 * Adds a user property behind those that are there.
 *
 * Errors: INVALID_ARGUMENT, also if the message is larger than mqtt.max_packet_size and than the client's was.
 */
midge_status midge_edit_add_user_property(struct midge_edit *edit,
                                          const char *name,
                                          const char *value);

/**
 * Replaces everything but the topic and the payload: QoS, RETAIN, and all properties. NULL is the defaults. If it
 * fails, nothing is replaced. Nobody is counted: `receivers` is not written.
 *
 * Errors: INVALID_ARGUMENT, also if the message is larger than mqtt.max_packet_size and than the client's was.
 */
midge_status midge_edit_set_options(struct midge_edit *edit,
                                    const struct midge_publish_options *options);

/**
 * Sets the hooks of the brokers that are started with a configuration from now on; NULL: none. Hooks that were set
 * before are replaced. A copy of the configuration has the same hooks.
 *
 * `free_user_data` is called exactly once, also if this fails; not if `hooks` cannot be read, because its struct_size
 * is wrong.
 *
 * Errors: INVALID_ARGUMENT.
 */
midge_status midge_config_set_hooks(struct midge_config *config,
                                    const struct midge_hooks *hooks);

/**
 * Decides, and frees the handle: MIDGE_ALLOW, MIDGE_DENY, or a reason code of MQTT 5, 0x80 and above, which denies with
 * it. The hook itself may call it, and answer MIDGE_DEFER.
 *
 * Errors: STATE if that is of no use any more, for the time is over, the client is gone or the broker has stopped;
 * INVALID_ARGUMENT, which leaves the decision open; FORKED.
 */
midge_status midge_decision_resolve(struct midge_decision *decision,
                                    int32_t verdict);

/**
 * Decides about a client that authenticates by a method, and frees the handle: MIDGE_ALLOW, which lets it in, or
 * MIDGE_CONTINUE, which asks it for more. `data` of `len` bytes, at most 65,535, is what it is told; it is copied, and may
 * be NULL if `len` is 0. Denials are given by midge_decision_resolve. The hook itself may call it, and answer MIDGE_DEFER.
 *
 * MIDGE_CONTINUE denies where there is no enhanced authentication going on; MIDGE_ALLOW allows there, and the client is
 * not told of `data`.
 *
 * Errors: as midge_decision_resolve.
 */
midge_status midge_decision_resolve_auth(struct midge_decision *decision,
                                         int32_t verdict,
                                         const void *data,
                                         size_t len);

/**
 * Frees a decision; one that is not resolved denies. NULL is taken. In a forked child nothing is done.
 */
void midge_decision_free(struct midge_decision *decision);

/**
 * Lets the brokers that are started with a configuration from now on give lines of their log to `log`: those of `level`
 * and of the levels before it, from MIDGE_LOG_ERROR to MIDGE_LOG_DEBUG. `log` NULL: none, which costs nothing. A log that
 * was set before is replaced. A copy of the configuration has the same log.
 *
 * `log` is called as the functions of midge_hooks are, for one line of a broker after the other: on the broker's threads,
 * and on a thread of the host that starts or stops it, publishes or kicks. It may call Midge, but midge_stop answers
 * IN_CALLBACK. Dropped messages are summed up: a line at once, then one in ten seconds.
 *
 * `free_user_data`, which may be NULL, is called exactly once with `user_data` when `log` will not be called any more,
 * also if this fails.
 *
 * Errors: INVALID_ARGUMENT.
 */
midge_status midge_config_set_log(struct midge_config *config,
                                  int32_t level,
                                  midge_log_fn log,
                                  void *user_data,
                                  midge_free_fn free_user_data);

/**
 * Makes a queue without subscriptions. `options` NULL is the settings of the broker.
 *
 * Errors: STATE; FORKED; INVALID_ARGUMENT.
 */
midge_status midge_queue_new(struct midge_broker *broker,
                             const struct midge_queue_options *options,
                             struct midge_queue **out);

/**
 * Puts the messages of a topic filter into the queue. Each carries `tag`. Retained messages are in when this
 * returns; they leave half of the queue free for new ones, and if there are more they follow as messages are taken.
 * `options` NULL is the defaults.
 *
 * Errors: TOPIC; STATE; FORKED; INVALID_ARGUMENT.
 */
midge_status midge_queue_subscribe(struct midge_queue *queue,
                                   const char *filter,
                                   const struct midge_subscribe_options *options,
                                   uint64_t tag,
                                   struct midge_subscription **out,
                                   struct midge_error **error);

/**
 * Takes up to `max` messages, at least one, and waits up to `timeout_ms` milliseconds for the first (0: does not
 * wait; less than 0: for ever).
 *
 * Returns OK; TIMED_OUT; CLOSED when the broker has stopped or the queue was closed, and every message was taken.
 * Errors: FORKED; INVALID_ARGUMENT.
 */
midge_status midge_queue_poll(struct midge_queue *queue,
                              size_t max,
                              int32_t timeout_ms,
                              struct midge_batch **out);

/**
 * A file descriptor for event loops (poll, epoll, select, asyncio): readable while messages wait, and for good once
 * the queue is closed. It is made at the first call, is the same at every call, and costs nothing if it is never
 * asked for. It belongs to the queue, lives until midge_queue_free, is close-on-exec, and is only to be watched: do
 * not read, write or close it.
 *
 * Readability is a level, not an edge: it goes away in the midge_queue_poll that takes the last message, or that
 * finds none, unless a message came in between. While another thread polls, it may be seen readable although nothing
 * waits, so call midge_queue_poll with the timeout 0 and take TIMED_OUT for an answer; and call it again, or return
 * to the event loop, after each batch. In an edge-triggered epoll, poll until TIMED_OUT.
 *
 * A forked child must not watch a descriptor that it got from its parent, for it shows the parent's queue; it may
 * close it.
 *
 * Errors: IO if there are no more descriptors; FORKED; INVALID_ARGUMENT.
 */
midge_status midge_queue_fd(struct midge_queue *queue,
                            int32_t *out);

/**
 * Ends a queue: no message is put in any more, and whoever polls is told CLOSED when it is empty. A second time does
 * nothing.
 *
 * Errors: FORKED; INVALID_ARGUMENT.
 */
midge_status midge_queue_close(struct midge_queue *queue);

/**
 * Messages that wait. 0 for NULL and in a forked child.
 */
size_t midge_queue_len(const struct midge_queue *queue);

/**
 * Messages that were dropped because the queue was full. 0 for NULL and in a forked child.
 */
uint64_t midge_queue_dropped(const struct midge_queue *queue);

/**
 * Closes a queue and frees its handle; a thread that waits in midge_queue_poll is told CLOSED. NULL is taken. In a
 * forked child nothing is done. The queue's subscriptions stay valid and are to be freed by the caller, before or
 * after.
 */
void midge_queue_free(struct midge_queue *queue);

/**
 * The number of messages. 0 for NULL.
 */
size_t midge_batch_count(const struct midge_batch *batch);

/**
 * The message at `index`, from 0. It lives as long as the batch and must not be freed. NULL beyond the last.
 */
const struct midge_message *midge_batch_at(const struct midge_batch *batch, size_t index);

/**
 * All messages as one array, for languages to which a call is dear: `*count` rows, each `*stride` bytes after the
 * one before (a later version may have longer rows). The rows live as long as the batch. `stride` and `count` may be
 * NULL. NULL for NULL.
 */
const struct midge_message_view *midge_batch_views(const struct midge_batch *batch,
                                                   size_t *stride,
                                                   size_t *count);

/**
 * The piece of memory into which the pointers of midge_batch_views point, except those of large payloads, which may
 * stand elsewhere: for languages to which a copy is cheap and a call is dear. It lives as long as the batch. NULL for
 * NULL.
 */
struct midge_bytes midge_batch_bytes(const struct midge_batch *batch);

/**
 * Frees a batch and its messages. NULL is taken.
 */
void midge_batch_free(struct midge_batch *batch);

/**
 * Reads the statistics. `out->struct_size` must be set, as MIDGE_STATS_INIT does; fields that this version of Midge
 * does not have become 0. They can still be read after the broker was stopped.
 *
 * Errors: INVALID_ARGUMENT; FORKED; STATE after a PANIC.
 */
midge_status midge_broker_stats(const struct midge_broker *broker,
                                struct midge_stats *out);

/**
 * The number of statistics in the table of all statistics.
 */
size_t midge_stat_count(void);

/**
 * Describes the statistic at `index`, from 0, with its value in `stats`, which may be NULL. The texts live for ever.
 * The table has some that are sums of others and no field of midge_stats, such as "messages_dropped".
 *
 * Errors: INVALID_ARGUMENT, also beyond the last.
 */
midge_status midge_stat_at(const struct midge_stats *stats,
                           size_t index,
                           struct midge_stat_view *out);

/**
 * Reads what the durable store of a broker has done. `out->struct_size` must be set, as MIDGE_STORAGE_STATS_INIT does;
 * fields that this version of Midge does not have become 0. It can still be read after the broker was stopped.
 *
 * Errors: INVALID_ARGUMENT; FORKED; STATE after a PANIC.
 */
midge_status midge_broker_storage(const struct midge_broker *broker,
                                  struct midge_storage_stats *out);

/**
 * Says what is wrong with the durable store of a broker and what to do: what the disk refuses, why the store has failed,
 * or where a damaged one is kept. `out` gets a text, empty if nothing is wrong, that midge_string_free frees.
 *
 * Errors: INVALID_ARGUMENT; FORKED; STATE after a PANIC.
 */
midge_status midge_broker_storage_trouble(const struct midge_broker *broker,
                                          char **out);

/**
 * Adds the listener `name` with its settings in `config`: "listener.<name>.bind" and the others of that listener. What
 * else the configuration has is not read. midge_broker_address tells the port that it has.
 *
 * Errors: INVALID_ARGUMENT, also if there is a listener of this name; CONFIG; ADDRESS_IN_USE; IO; STATE; FORKED.
 */
midge_status midge_broker_listener_add(struct midge_broker *broker,
                                       const char *name,
                                       const struct midge_config *config,
                                       struct midge_error **error);

/**
 * Closes the listener `name`. `connections` says what becomes of those that it has accepted: MIDGE_CONNECTIONS_KEEP or
 * MIDGE_CONNECTIONS_DISCONNECT, which tells clients that speak MQTT 5 0x98, Administrative action; their sessions stay.
 * The name and the address are free again when this returns; in a callback the address is soon after.
 *
 * Errors: INVALID_ARGUMENT, also if there is no listener of this name; STATE; FORKED.
 */
midge_status midge_broker_listener_stop(struct midge_broker *broker,
                                        const char *name,
                                        int32_t connections,
                                        struct midge_error **error);

/**
 * Lets the listener `name` accept no connection for now; those that exist go on. Clients that connect wait in the
 * system's queue until midge_broker_listener_resume. Pausing a paused listener does nothing.
 *
 * Errors: those of midge_broker_listener_stop.
 */
midge_status midge_broker_listener_pause(struct midge_broker *broker,
                                         const char *name,
                                         struct midge_error **error);

/**
 * Lets the paused listener `name` accept again, those first that have waited. Nothing happens if it is not paused.
 *
 * Errors: those of midge_broker_listener_stop.
 */
midge_status midge_broker_listener_resume(struct midge_broker *broker,
                                          const char *name,
                                          struct midge_error **error);

/**
 * Lists the listeners: those of the settings in their order, then those that were added. After midge_stop all of them are
 * stopped.
 *
 * Errors: INVALID_ARGUMENT; FORKED; STATE after a PANIC.
 */
midge_status midge_broker_listeners(const struct midge_broker *broker,
                                    struct midge_listeners **out);

/**
 * The number of listeners in the list. 0 for NULL.
 */
size_t midge_listeners_count(const struct midge_listeners *listeners);

/**
 * Describes the listener at `index`, from 0. The texts live as long as the list.
 *
 * Errors: INVALID_ARGUMENT, also beyond the last.
 */
midge_status midge_listeners_at(const struct midge_listeners *listeners,
                                size_t index,
                                struct midge_listener_view *out);

/**
 * Describes a reason why handshakes of the listener at `index` have failed; `reason` counts from 0, and the most frequent
 * comes first. The text lives as long as the list.
 *
 * Errors: INVALID_ARGUMENT, also beyond the last.
 */
midge_status midge_listeners_failure_at(const struct midge_listeners *listeners,
                                        size_t index,
                                        size_t reason,
                                        struct midge_handshake_failure_view *out);

/**
 * Frees a list of listeners. NULL is taken.
 */
void midge_listeners_free(struct midge_listeners *listeners);

/**
 * Lists every client that is connected or has a session, in no order.
 *
 * Errors: INVALID_ARGUMENT; FORKED; STATE after a PANIC.
 */
midge_status midge_broker_clients(const struct midge_broker *broker, struct midge_clients **out);

/**
 * The number of clients in the list. 0 for NULL.
 */
size_t midge_clients_count(const struct midge_clients *clients);

/**
 * Describes the client at `index`, from 0. The texts live as long as the list.
 *
 * Errors: INVALID_ARGUMENT, also beyond the last.
 */
midge_status midge_clients_at(const struct midge_clients *clients,
                              size_t index,
                              struct midge_client_view *out);

/**
 * Frees a list of clients. NULL is taken.
 */
void midge_clients_free(struct midge_clients *clients);

/**
 * Lists every subscription, of clients and of the host, in no order.
 *
 * Errors: INVALID_ARGUMENT; FORKED; STATE after a PANIC.
 */
midge_status midge_broker_subscriptions(const struct midge_broker *broker, struct midge_subscriptions **out);

/**
 * The number of subscriptions in the list. 0 for NULL.
 */
size_t midge_subscriptions_count(const struct midge_subscriptions *subscriptions);

/**
 * Describes the subscription at `index`, from 0. The texts live as long as the list.
 *
 * Errors: INVALID_ARGUMENT, also beyond the last.
 */
midge_status midge_subscriptions_at(const struct midge_subscriptions *subscriptions,
                                    size_t index,
                                    struct midge_subscription_view *out);

/**
 * Frees a list of subscriptions. NULL is taken.
 */
void midge_subscriptions_free(struct midge_subscriptions *subscriptions);

/**
 * Lists the retained messages whose topics match a filter, in the order of their topics; with a filter that begins
 * with "$SYS/" those of the broker itself. Large payloads are shared, the rest is copied.
 *
 * Errors: TOPIC; INVALID_ARGUMENT, also for a shared subscription's filter; FORKED; STATE after a PANIC.
 */
midge_status midge_broker_retained(const struct midge_broker *broker,
                                   const char *filter,
                                   struct midge_retained **out);

/**
 * The number of messages in the list. 0 for NULL.
 */
size_t midge_retained_count(const struct midge_retained *retained);

/**
 * The message at `index`, from 0. It lives as long as the list and must not be freed. NULL beyond the last.
 */
const struct midge_message *midge_retained_at(const struct midge_retained *retained, size_t index);

/**
 * Frees a list of retained messages. NULL is taken.
 */
void midge_retained_free(struct midge_retained *retained);

/**
 * Ends the session of a client, whether it is connected or away, as its expiry would: its subscriptions go, its will is
 * published, what waits for a shared subscription goes to another member, the rest is dropped. A client that is connected
 * is disconnected; one that speaks MQTT 5 is told 0x98, Administrative action.
 *
 * Returns OK or NO_SESSION. Errors: STATE; FORKED; INVALID_ARGUMENT; IO if it is done, but the store that keeps the session
 * has failed, so that a restart undoes it.
 */
midge_status midge_broker_end_session(struct midge_broker *broker,
                                      const char *client_id);

/**
 * Lists the oldest messages that wait in the queue of a client's session, at most `most` of them, oldest first. They stay
 * in the queue. Messages that were sent and are not acknowledged are not in it. Large payloads are shared, the rest is
 * copied.
 *
 * Returns OK or NO_SESSION. Errors: INVALID_ARGUMENT; FORKED; STATE after a PANIC.
 */
midge_status midge_broker_queued(const struct midge_broker *broker,
                                 const char *client_id,
                                 size_t most,
                                 struct midge_queued **out);

/**
 * Drops what waits in the queue of a client's session; `dropped`, which may be NULL, gets the number of messages. They are
 * counted as messages_dropped_cleared. Messages that were sent and are not acknowledged stay.
 *
 * Returns OK or NO_SESSION. Errors: STATE; FORKED; INVALID_ARGUMENT; IO if it is done, but the store that keeps the session
 * has failed, so that a restart undoes it.
 */
midge_status midge_broker_clear_queue(struct midge_broker *broker,
                                      const char *client_id,
                                      size_t *dropped);

/**
 * The number of messages in the list. 0 for NULL.
 */
size_t midge_queued_count(const struct midge_queued *queued);

/**
 * The message at `index`, from 0. It lives as long as the list and must not be freed. NULL beyond the last.
 */
const struct midge_message *midge_queued_at(const struct midge_queued *queued, size_t index);

/**
 * Frees a list of queued messages. NULL is taken.
 */
void midge_queued_free(struct midge_queued *queued);

/**
 * Starts a broker in test mode, as midge_start does. It takes from clients and hosts what any broker takes, and does
 * what it would do; but its time stands still until midge_broker_advance moves it, it has faults if
 * midge_broker_inject says so, and it remembers what was published.
 *
 * If listener.tcp.bind is left at its default (also with `config` NULL), the listener is at a free port of 127.0.0.1:
 * midge_broker_address tells which.
 *
 * Errors: as midge_start.
 */
midge_status midge_start_test(const struct midge_config *config,
                              struct midge_broker **out,
                              struct midge_error **error);

/**
 * Starts a durable broker in test mode, as midge_start_test does. Without the setting storage.path its directory is a
 * temporary one, which is removed when the broker and those that midge_broker_restart has made of it are freed.
 *
 * Errors: as midge_start.
 */
midge_status midge_start_test_durable(const struct midge_config *config,
                                      struct midge_broker **out,
                                      struct midge_error **error);

/**
 * Ends a broker in test mode as a crash does; `crash` is a MIDGE_CRASH_... constant. From one moment on nothing more is
 * written to its disk and nothing more is sent; every connection is cut with a TCP reset, without DISCONNECT. Clients that
 * connect are refused until midge_broker_restart.
 *
 * What is only in this process ends as with midge_stop without grace: a callback that runs is waited for, hooks are told of
 * the connections that have ended, queues close, and messages that wait for a commit are not acknowledged. Then all
 * calls say STATE; what was published can still be read. A broker without a directory forgets everything.
 *
 * Errors: STATE, also if the broker is not in test mode, or has crashed or stopped before; IN_CALLBACK on a thread of a
 * broker; FORKED; INVALID_ARGUMENT.
 */
midge_status midge_broker_crash(struct midge_broker *broker,
                                int32_t crash);

/**
 * Starts a broker in test mode again: with the same settings and hooks, at the same addresses, on the same directory. One
 * that runs is stopped first. The time goes on, also that of midge_broker_advance while the broker was down; so do the faults
 * between it and its clients, and the record of what was published. Its disk is MIDGE_DISK_WELL.
 *
 * `*out` is a new handle. `broker` stays stopped, and can be freed before or after the other.
 *
 * Errors: as midge_start; STATE if the broker is not in test mode; INVALID_ARGUMENT, also if it was restarted before;
 * IN_CALLBACK on a thread of a broker.
 */
midge_status midge_broker_restart(struct midge_broker *broker,
                                  struct midge_broker **out,
                                  struct midge_error **error);

/**
 * Sets what the disk of a durable broker in test mode does from now on, a MIDGE_DISK_... constant. A flush that waits is
 * concerned, too. `delay_ms` is for MIDGE_DISK_SLOW: milliseconds of the broker's time, 0 or more. Otherwise 0.
 *
 * Errors: STATE, also if the broker is not in test mode; FORKED; INVALID_ARGUMENT, also if it has no directory.
 */
midge_status midge_broker_set_disk(struct midge_broker *broker,
                                   int32_t disk,
                                   int64_t delay_ms,
                                   struct midge_error **error);

/**
 * Moves the time of a broker in test mode on by `milliseconds`, at most a hundred years. Everything that is due in
 * between happens in its order and at its time: silent clients are disconnected, sessions and messages expire, delayed
 * wills are published, packets that a fault has delayed are sent. When this returns that has happened, what is to be
 * written to clients is written, as far as they take it, and connections that are to be closed are closed.
 *
 * What clients have sent before the call is handled before the time moves. Their own clocks do not know of it: one
 * that is to ping every minute does not within an hour that passes at once. 0 moves no time, and has everything
 * handled that was sent.
 *
 * The time of a broker that has crashed, and of a durable one that has stopped, can be moved until it is restarted.
 *
 * Callbacks of subscriptions are not waited for. Errors: STATE, also if the broker is not in test mode; IN_CALLBACK on a
 * thread of a broker; FORKED; INVALID_ARGUMENT.
 */
midge_status midge_broker_advance(struct midge_broker *broker,
                                  int64_t milliseconds);

/**
 * The broker's time in milliseconds since it started, in test mode or not; -1 for NULL, in a forked child, and after
 * a PANIC.
 */
int64_t midge_broker_time(const struct midge_broker *broker);

/**
 * Lets something go wrong from now on. If several faults fit a packet, the one that was injected first strikes. `*id`
 * (`id` may be NULL) names the fault for midge_broker_fault_hits and midge_broker_clear_fault.
 *
 * Errors: STATE, also if the broker is not in test mode; FORKED; INVALID_ARGUMENT, also if 10000 faults were not
 * cleared. The sentence names the field.
 */
midge_status midge_broker_inject(struct midge_broker *broker,
                                 const struct midge_fault *fault,
                                 uint64_t *id,
                                 struct midge_error **error);

/**
 * Tells how often a fault has struck, 0 for one that was cleared. With a `count` of more than 0 it waits until the
 * fault has struck so often, or was cleared, for at most `timeout_ms` milliseconds of real time (less than 0: for
 * ever). `hits` may be NULL.
 *
 * Returns OK; TIMED_OUT (also if it was cleared before), without writing `*hits`. Errors: STATE, also if the broker is
 * not in test mode; IN_CALLBACK if it is to wait on a thread of a broker; FORKED; INVALID_ARGUMENT.
 */
midge_status midge_broker_fault_hits(struct midge_broker *broker,
                                     uint64_t id,
                                     uint64_t count,
                                     int32_t timeout_ms,
                                     uint64_t *hits);

/**
 * Ends a fault; 0 is all of them, and has clients read again that midge_broker_pause stopped. One that was cleared
 * before is no error. Packets that a fault has delayed stay so.
 *
 * Errors: STATE, also if the broker is not in test mode; FORKED; INVALID_ARGUMENT.
 */
midge_status midge_broker_clear_fault(struct midge_broker *broker,
                                      uint64_t id);

/**
 * Cuts a client's connection with a TCP reset, without DISCONNECT. When this returns, the broker has dealt with the end
 * of the connection: the will is published or its delay runs.
 *
 * Returns OK or NOT_CONNECTED. Errors: STATE, also if the broker is not in test mode; IN_CALLBACK on a thread of a
 * broker; FORKED; INVALID_ARGUMENT.
 */
midge_status midge_broker_cut(struct midge_broker *broker,
                              const char *client_id);

/**
 * Stops reading what a client sends (`pause` 1), or reads it again (0): to the client it looks as if the broker hung.
 * Its keep alive runs in the broker's time.
 *
 * Returns OK or NOT_CONNECTED. Errors: STATE, also if the broker is not in test mode; FORKED; INVALID_ARGUMENT.
 */
midge_status midge_broker_pause(struct midge_broker *broker,
                                const char *client_id,
                                int32_t pause);

/**
 * Gives the messages that were published to topics that `filter` matches, oldest first: by clients, by the host, and
 * wills; whether or not anybody heard them. The `tag` of each is the broker's time of its publication, in
 * milliseconds. The batch, which may be empty, belongs to the caller, who frees it by midge_batch_free.
 *
 * The settings queue.capacity and queue.max_bytes bound how many are remembered; the oldest are forgotten.
 *
 * Errors: TOPIC; STATE, only if the broker is not in test mode or after a PANIC; FORKED; INVALID_ARGUMENT.
 */
midge_status midge_broker_published(struct midge_broker *broker,
                                    const char *filter,
                                    struct midge_batch **out,
                                    struct midge_error **error);

/**
 * Forgets what was published so far.
 *
 * Errors: STATE, also if the broker is not in test mode; FORKED; INVALID_ARGUMENT.
 */
midge_status midge_broker_forget_published(struct midge_broker *broker);

/**
 * Waits until at least `count` messages were published to topics that `filter` matches, since the broker started or
 * midge_broker_forget_published, for at most `timeout_ms` milliseconds of real time (less than 0: for ever).
 *
 * Returns OK or TIMED_OUT; then the sentence in `*error` says what was published instead (its code is TIMED_OUT).
 * Errors: TOPIC; STATE, also if the broker is not in test mode or stops meanwhile; IN_CALLBACK on a thread of a broker;
 * FORKED; INVALID_ARGUMENT.
 */
midge_status midge_broker_wait_for(struct midge_broker *broker,
                                   const char *filter,
                                   size_t count,
                                   int32_t timeout_ms,
                                   struct midge_error **error);

/**
 * Waits until a client is connected (`connected` 1), or is not (0), for at most `timeout_ms` milliseconds of real time
 * (less than 0: for ever).
 *
 * Returns OK or TIMED_OUT. Errors: STATE, also if the broker is not in test mode or stops meanwhile; IN_CALLBACK on a
 * thread of a broker; FORKED; INVALID_ARGUMENT.
 */
midge_status midge_broker_wait_for_client(struct midge_broker *broker,
                                          const char *client_id,
                                          int32_t connected,
                                          int32_t timeout_ms);

/**
 * Waits until a client or the host has subscribed to exactly this filter, for at most `timeout_ms` milliseconds of real
 * time (less than 0: for ever).
 *
 * Returns OK or TIMED_OUT. Errors: TOPIC; STATE, also if the broker is not in test mode or stops meanwhile; IN_CALLBACK
 * on a thread of a broker; FORKED; INVALID_ARGUMENT.
 */
midge_status midge_broker_wait_for_subscription(struct midge_broker *broker,
                                                const char *filter,
                                                int32_t timeout_ms);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* MIDGE_H */
