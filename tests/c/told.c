/* Every field of what hooks, lists and statistics tell, with values that differ from each other and from the defaults. */
#include "notes.h"

typedef struct host {
    midge_broker *broker;
    notes told;
} host;

/* Two arguments for the "%.*s" of note. */
#define TEXT(bytes)                                                                            \
    (int)((bytes).data == NULL ? 6 : (bytes).len), (const char *)((bytes).data == NULL ? "(null)" : (bytes).data)

static const char *is_local(midge_bytes address)
{
    return address.len > 10 && memcmp(address.data, "127.0.0.1:", 10) == 0 ? "local" : "elsewhere";
}

static int32_t authenticate(const midge_connect_request *request, midge_decision *decision, void *user_data)
{
    host *host_of = (host *)user_data;
    (void)decision;
    if (bytes_are(request->client_id, "quiet"))
        return MIDGE_ALLOW;
    note(&host_of->told, "asks %.*s %.*s:%.*s from %s by %s, version %d, clean %d, keep alive %d, method %s, step %d, again %d\n",
         TEXT(request->client_id), TEXT(request->username), TEXT(request->password), is_local(request->address),
         bytes_are(request->listener, "tcp") ? "tcp" : "?", request->protocol_version, request->clean_start,
         request->keep_alive, request->auth_method.data == NULL ? "none" : "some", request->auth_step,
         request->reauthenticates);
    return MIDGE_ALLOW;
}

static int32_t authorize(const midge_access_request *request, midge_decision *decision, void *user_data)
{
    (void)decision;
    if (!bytes_are(request->client_id, "quiet"))
        note(&((host *)user_data)->told, "wants %.*s as %.*s from %s: %s %.*s, QoS %d, retain %d, will %d\n",
             TEXT(request->client_id), TEXT(request->username), is_local(request->address),
             request->action == MIDGE_ACTION_PUBLISH ? "publish" : "subscribe", TEXT(request->topic), request->qos,
             request->retain, request->is_will);
    return MIDGE_ALLOW;
}

static int32_t on_publish(const midge_publish_request *request, midge_edit *edit, void *user_data)
{
    midge_publish_options options = MIDGE_PUBLISH_OPTIONS_INIT;
    midge_bytes payload = midge_message_payload(request->message);
    if (!bytes_are(request->client_id, "quiet"))
        note(&((host *)user_data)->told, "publishes %.*s as %.*s: %.*s, will %d\n", TEXT(request->client_id),
             TEXT(request->username), TEXT(midge_message_topic(request->message)), request->is_will);
    if (bytes_are(payload, "odd"))
        return 7;
    if (bytes_are(payload, "later"))
        return MIDGE_DEFER;
    if (bytes_are(payload, "edit")) {
        options.qos = 2;
        options.retain = 1;
        CHECK_STATUS(MIDGE_STATUS_OK, midge_edit_set_options(edit, &options));
    }
    return MIDGE_ALLOW;
}

static void on_connected(const midge_connection_view *view, void *user_data)
{
    if (!bytes_are(view->client_id, "quiet"))
        note(&((host *)user_data)->told,
             "+ %.*s as %.*s from %s by %.*s, version %d, clean %d, present %d, keep alive %d, connection %d\n",
             TEXT(view->client_id), TEXT(view->username), is_local(view->address), TEXT(view->listener),
             view->protocol_version, view->clean_start, view->session_present, view->keep_alive,
             (int)view->connection);
}

static void on_disconnected(const midge_disconnection_view *view, void *user_data)
{
    if (!bytes_are(view->client_id, "quiet"))
        note(&((host *)user_data)->told, "- %.*s cause %d, reason %x, connection %d%s\n", TEXT(view->client_id),
             view->cause, (unsigned)view->reason_code, (int)view->connection, view->why.len > 0 ? ", why" : "");
}

static void on_subscription(const midge_subscription_view *view, void *user_data)
{
    note(&((host *)user_data)->told, "%.*s: %.*s, id %d, QoS %d, no local %d, as published %d, handling %d\n",
         TEXT(view->client_id), TEXT(view->filter), (int)view->identifier, view->qos, view->no_local,
         view->retain_as_published, view->retain_handling);
}

static void on_delivery(const midge_delivery_view *view, void *user_data)
{
    note(&((host *)user_data)->told, "%.*s %.*s, QoS %d, %.*s\n", TEXT(view->client_id), TEXT(view->topic), view->qos,
         TEXT(view->reason));
}

static midge_broker *start_told(host *host_of, const midge_hooks *wanted)
{
    midge_hooks hooks = *wanted;
    midge_config *config = NULL;
    notes_init(&host_of->told);
    hooks.user_data = host_of;
    MUST(midge_config_new(&config) == MIDGE_STATUS_OK);
    MUST(midge_config_set_hooks(config, &hooks) == MIDGE_STATUS_OK);
    MUST(midge_start_test(config, &host_of->broker, NULL) == MIDGE_STATUS_OK);
    midge_config_free(config);
    return host_of->broker;
}

/* ---- a client of MQTT 5 ---- */

/* Sends a packet of less than 128 bytes: its first byte, and what follows the length. */
static void say(int fd, unsigned char first, const char *rest, size_t len)
{
    unsigned char packet[130];
    MUST(len < 128);
    packet[0] = first;
    packet[1] = (unsigned char)len;
    memcpy(packet + 2, rest, len);
    send_all(fd, packet, len + 2);
}

#define SAY(fd, first, rest) say(fd, first, rest, sizeof rest - 1)

/* Receives a packet of less than 128 bytes, which must begin with this byte; its second byte after the length. */
static int hear(int fd, unsigned char first)
{
    unsigned char packet[130];
    receive(fd, packet, 2);
    MUST(packet[1] < 128);
    receive(fd, packet + 2, packet[1]);
    if (packet[0] != first)
        printf("# %02x came, not %02x\n", packet[0], first);
    CHECK(packet[0] == first);
    return packet[3];
}

/* "v5" of alice with the password "secret", Keep Alive 30, a session of 100 seconds, and a retained will of QoS 1. */
static int alice(midge_broker *broker)
{
    int fd = client_dial(broker);
    SAY(fd, 0x10, "\0\4MQTT\5\xec\0\x1e\5\x11\0\0\0\x64\0\2v5\0\0\1w\0\4gone\0\5alice\0\6secret");
    hear(fd, 0x20);
    return fd;
}

/* A session that does not end, away from its client. */
static void leave_for_ever(midge_broker *broker)
{
    int fd = client_dial(broker);
    SAY(fd, 0x10, "\0\4MQTT\5\0\0\0\5\x11\xff\xff\xff\xff\0\7forever");
    hear(fd, 0x20);
    SAY(fd, 0xe0, "");
    CHECK(is_closed_by_peer(fd));
}

static void those_who_decide_are_told_everything(void)
{
    midge_hooks hooks = MIDGE_HOOKS_INIT;
    host host_of;
    int fd;
    hooks.authenticate = authenticate;
    hooks.authorize = authorize;
    hooks.on_publish = on_publish;
    start_told(&host_of, &hooks);
    fd = alice(host_of.broker);
    CHECK(notes_were(&host_of.told,
                     "asks v5 alice:secret from local by tcp, version 5, clean 0, keep alive 30, method none, step 0, again 0\n"
                     "wants v5 as alice from local: publish w, QoS 1, retain 1, will 1\n"));
    SAY(fd, 0x82, "\0\1\0\0\1t\2");
    hear(fd, 0x90);
    SAY(fd, 0x35, "\0\1p\0\2\0x");
    hear(fd, 0x50);
    CHECK(notes_were(&host_of.told, "wants v5 as alice from local: subscribe t, QoS 2, retain 0, will 0\n"
                                    "wants v5 as alice from local: publish p, QoS 2, retain 1, will 0\n"
                                    "publishes v5 as alice: p, will 0\n"));
    /* The will is one of a client that is gone. */
    CHECK_STATUS(MIDGE_STATUS_OK, midge_broker_cut(host_of.broker, "v5"));
    CHECK(notes_were(&host_of.told, "publishes v5 as (null): w, will 1\n"));
    close(fd);
    midge_broker_free(host_of.broker);
}

static void an_answer_that_is_none_drops_the_message(void)
{
    midge_hooks hooks = MIDGE_HOOKS_INIT;
    midge_batch *batch = NULL;
    const midge_message *message;
    unsigned char pingresp[2];
    host host_of;
    int fd;
    hooks.on_publish = on_publish;
    start_told(&host_of, &hooks);
    fd = client_connect(host_of.broker, "quiet");
    SAY(fd, 0x30, "\0\1todd");
    SAY(fd, 0x30, "\0\1tlater");
    SAY(fd, 0x30, "\0\1tedit");
    SAY(fd, 0xc0, "");
    receive(fd, pingresp, sizeof pingresp);
    MUST(midge_broker_published(host_of.broker, "#", &batch, NULL) == MIDGE_STATUS_OK);
    CHECK(midge_batch_count(batch) == 1);
    message = midge_batch_at(batch, 0);
    CHECK(bytes_are(midge_message_payload(message), "edit"));
    CHECK(midge_message_qos(message) == 2 && midge_message_retained(message) == 1);
    midge_batch_free(batch);
    close(fd);
    midge_broker_free(host_of.broker);
}

/* The property says that the payload is not text. */
static void bytes_are_no_text(void)
{
    midge_broker *broker = NULL;
    midge_batch *batch = NULL;
    int fd;
    MUST(midge_start_test(NULL, &broker, NULL) == MIDGE_STATUS_OK);
    fd = alice(broker);
    SAY(fd, 0x30, "\0\1t\2\1\0x");
    SAY(fd, 0x30, "\0\1t\2\1\1x");
    SAY(fd, 0xc0, "");
    hear(fd, 0xd0);
    MUST(midge_broker_published(broker, "t", &batch, NULL) == MIDGE_STATUS_OK && midge_batch_count(batch) == 2);
    CHECK(midge_message_payload_is_text(midge_batch_at(batch, 0)) == 0);
    CHECK(midge_message_payload_is_text(midge_batch_at(batch, 1)) == 1);
    midge_batch_free(batch);
    close(fd);
    midge_broker_free(broker);
}

static void those_who_are_told_are_told_everything(void)
{
    midge_publish_options options = MIDGE_PUBLISH_OPTIONS_INIT;
    midge_hooks hooks = MIDGE_HOOKS_INIT;
    char expected[512];
    host host_of;
    int fd, again;
    hooks.on_connected = on_connected;
    hooks.on_disconnected = on_disconnected;
    hooks.on_subscribed = on_subscription;
    hooks.on_unsubscribed = on_subscription;
    hooks.on_delivered = on_delivery;
    hooks.on_dropped = on_delivery;
    start_told(&host_of, &hooks);
    fd = alice(host_of.broker);
    CHECK(notes_were(&host_of.told, "+ v5 as alice from local by tcp, version 5, clean 0, present 0, keep alive 30, connection 1\n"));
    /* Identifier 7; QoS 1, No Local, Retain As Published, Retain Handling 1. */
    SAY(fd, 0x82, "\0\1\2\x0b\7\0\1t\x1d");
    hear(fd, 0x90);
    CHECK(notes_were(&host_of.told, "v5: t, id 7, QoS 1, no local 1, as published 1, handling 1\n"));
    options.qos = 2;
    CHECK_STATUS(MIDGE_STATUS_OK, midge_publish(host_of.broker, "t", "x", 1, &options));
    hear(fd, 0x32);
    SAY(fd, 0x40, "\0\1");
    SAY(fd, 0xc0, "");
    hear(fd, 0xd0);
    CHECK(notes_were(&host_of.told, "v5 t, QoS 1, (null)\n"));
    SAY(fd, 0x30, "\0\6nobody\0x");
    SAY(fd, 0xc0, "");
    hear(fd, 0xd0);
    CHECK_STATUS(MIDGE_STATUS_OK, publish_text(host_of.broker, "nobody", "x"));
    CHECK(notes_were(&host_of.told, "v5 nobody, QoS -1, no_subscriber\n(null) nobody, QoS -1, no_subscriber\n"));
    /* It is taken over by itself, and its session goes on. */
    again = alice(host_of.broker);
    CHECK(is_closed_by_peer(fd));
    snprintf(expected, sizeof expected,
             "- v5 cause %d, reason 0, connection 1, why\n"
             "+ v5 as alice from local by tcp, version 5, clean 0, present 1, keep alive 30, connection 2\n",
             MIDGE_CAUSE_TAKEN_OVER);
    CHECK(notes_were(&host_of.told, expected));
    CHECK_STATUS(MIDGE_STATUS_OK, midge_broker_wait_for_client(host_of.broker, "v5", 1, PATIENCE * 1000));
    SAY(again, 0xa2, "\0\2\0\0\1t");
    hear(again, 0xb0);
    notes_init(&host_of.told);
    CHECK_STATUS(MIDGE_STATUS_OK, midge_broker_advance(host_of.broker, 45000));
    CHECK(is_closed_by_peer(again));
    snprintf(expected, sizeof expected, "- v5 cause %d, reason 0, connection 2", MIDGE_CAUSE_KEEP_ALIVE);
    CHECK(notes_have(&host_of.told, expected));
    /* A packet of a reserved type. */
    notes_init(&host_of.told);
    fd = client_connect(host_of.broker, "rude");
    SAY(fd, 0x00, "");
    CHECK(is_closed_by_peer(fd));
    snprintf(expected, sizeof expected, "- rude cause %d, reason 81, connection 3, why\n", MIDGE_CAUSE_REFUSED);
    CHECK(notes_have(&host_of.told, expected));
    midge_broker_free(host_of.broker);
}

static void lists_tell_everything(void)
{
    midge_broker *broker = NULL;
    midge_clients *clients = NULL;
    midge_subscriptions *subscriptions = NULL;
    midge_client_view client = MIDGE_CLIENT_VIEW_INIT;
    midge_subscription_view subscription = MIDGE_SUBSCRIPTION_VIEW_INIT;
    midge_publish_options options = MIDGE_PUBLISH_OPTIONS_INIT;
    size_t index, found = 0;
    int fd;
    MUST(midge_start_test(NULL, &broker, NULL) == MIDGE_STATUS_OK);
    leave_for_ever(broker);
    CHECK_STATUS(MIDGE_STATUS_OK, midge_broker_advance(broker, 7));
    fd = client_dial(broker);
    /* Receive Maximum 1: of three messages one is in flight, and two wait. */
    SAY(fd, 0x10, "\0\4MQTT\5\x80\0\x1e\x8\x11\0\0\0\x64\x21\0\1\0\2v5\0\5alice");
    hear(fd, 0x20);
    SAY(fd, 0x82, "\0\1\2\x0b\7\0\1t\x1d\0\1u\x21");
    hear(fd, 0x90);
    options.qos = 1;
    for (index = 0; index < 3; index++)
        CHECK_STATUS(MIDGE_STATUS_OK, midge_publish(broker, "t", "x", 1, &options));
    hear(fd, 0x32);
    for (index = 0; index < 4; index++)
        SAY(fd, 0x30, "\0\1p\0x");
    SAY(fd, 0xc0, "");
    hear(fd, 0xd0);
    MUST(midge_broker_clients(broker, &clients) == MIDGE_STATUS_OK && midge_clients_count(clients) == 2);
    for (index = 0; index < 2; index++) {
        CHECK_STATUS(MIDGE_STATUS_OK, midge_clients_at(clients, index, &client));
        if (bytes_are(client.client_id, "v5")) {
            CHECK(bytes_are(client.username, "alice") && client.connected == 1 && client.connected_since_ms == 7);
            CHECK(client.session_expiry_interval == 100 && client.subscriptions == 2);
            CHECK(client.queued == 2 && client.inflight == 1);
            CHECK(client.received_messages == 4 && client.sent_messages == 1);
            CHECK(client.protocol_version == 5 && client.clean_start == 0 && client.keep_alive == 30);
            found++;
        } else {
            CHECK(bytes_are(client.client_id, "forever") && client.connected == 0 && client.address.data == NULL);
            CHECK(client.session_expiry_interval == -1 && client.connected_since_ms == -1);
            CHECK(client.username.data == NULL && client.queued == 0 && client.sent_messages == 0);
            found += 10;
        }
    }
    CHECK(found == 11);
    midge_clients_free(clients);
    MUST(midge_broker_subscriptions(broker, &subscriptions) == MIDGE_STATUS_OK);
    MUST(midge_subscriptions_count(subscriptions) == 2);
    for (index = 0, found = 0; index < 2; index++) {
        CHECK_STATUS(MIDGE_STATUS_OK, midge_subscriptions_at(subscriptions, index, &subscription));
        CHECK(bytes_are(subscription.client_id, "v5") && subscription.identifier == 7 && subscription.qos == 1);
        if (bytes_are(subscription.filter, "t")) {
            CHECK(subscription.no_local == 1 && subscription.retain_as_published == 1);
            CHECK(subscription.retain_handling == MIDGE_RETAIN_SEND_IF_NEW);
            found++;
        } else {
            CHECK(bytes_are(subscription.filter, "u") && subscription.no_local == 0);
            CHECK(subscription.retain_as_published == 0 && subscription.retain_handling == MIDGE_RETAIN_DO_NOT_SEND);
            found += 10;
        }
    }
    CHECK(found == 11);
    midge_subscriptions_free(subscriptions);
    close(fd);
    midge_broker_free(broker);
}

static void statistics_tell_their_time_and_their_topics(void)
{
    midge_broker *broker = NULL;
    midge_stats stats = MIDGE_STATS_INIT;
    midge_stat_view view = MIDGE_STAT_VIEW_INIT;
    size_t index, without = 0;
    MUST(midge_start_test(NULL, &broker, NULL) == MIDGE_STATUS_OK);
    CHECK_STATUS(MIDGE_STATUS_OK, midge_broker_advance(broker, 5000));
    CHECK_STATUS(MIDGE_STATUS_OK, midge_broker_stats(broker, &stats));
    CHECK(stats.uptime_ms == 5000 && midge_broker_time(broker) == 5000);
    for (index = 0; index < midge_stat_count(); index++) {
        CHECK_STATUS(MIDGE_STATUS_OK, midge_stat_at(&stats, index, &view));
        if (bytes_are(view.name, "clients_connected"))
            CHECK(bytes_are(view.sys_topic, "$SYS/broker/clients/connected"));
        if (view.sys_topic.data == NULL)
            without++;
        else
            CHECK(view.sys_topic.len > 12 && memcmp(view.sys_topic.data, "$SYS/broker/", 12) == 0);
    }
    CHECK(without < midge_stat_count());
    midge_broker_free(broker);
}

int main(void)
{
    RUN(those_who_decide_are_told_everything);
    RUN(an_answer_that_is_none_drops_the_message);
    RUN(bytes_are_no_text);
    RUN(those_who_are_told_are_told_everything);
    RUN(lists_tell_everything);
    RUN(statistics_tell_their_time_and_their_topics);
    FINISH();
}
