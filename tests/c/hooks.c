/* Hooks: who is let in, what is allowed, what becomes of messages, what the host is told; decisions that come later. */
#include "notes.h"

typedef struct host {
    midge_broker *broker;
    event asked;
    event told;
    event freed;
    midge_decision *decision;
    midge_status status;
    int32_t cause;
    notes told_of;
} host;

static void host_init(host *host)
{
    event fresh = EVENT_INIT;
    memset(host, 0, sizeof *host);
    host->asked = fresh;
    host->told = fresh;
    host->freed = fresh;
    notes_init(&host->told_of);
    host->cause = -1;
}

static void freed(void *user_data)
{
    event_add(&((host *)user_data)->freed);
}

/* A broker with hooks for a host. */
static midge_broker *start_hosted(host *host, midge_hooks *hooks, const char *deadline)
{
    midge_config *config = config_on_free_port();
    hooks->user_data = host;
    hooks->free_user_data = freed;
    MUST(midge_config_set(config, "hooks.deadline", deadline, NULL) == MIDGE_STATUS_OK);
    MUST(midge_config_set_hooks(config, hooks) == MIDGE_STATUS_OK);
    host->broker = start_with(config);
    CHECK(event_count(&host->freed) == 0);
    return host->broker;
}

static void stop_hosted(host *host)
{
    midge_broker_free(host->broker);
    CHECK(event_count(&host->freed) == 1);
}

/* Writes down what it is told, a blank behind it. */
static void say(host *host, const char *word, midge_bytes more)
{
    note(&host->told_of, "%s%.*s ", word, (int)more.len, (const char *)more.data);
}

/* ---- clients of MQTT 3.1.1 ---- */

static size_t put_text(unsigned char *to, const char *text)
{
    size_t len = strlen(text);
    to[0] = 0;
    to[1] = (unsigned char)len;
    memcpy(to + 2, text, len);
    return len + 2;
}

/* Sends CONNECT with a user name and a password, both short; NULL is none. */
static int client_asks(midge_broker *broker, const char *client_id, const char *username, const char *password)
{
    static const unsigned char head[] = { 0x10, 0, 0, 4, 'M', 'Q', 'T', 'T', 4, 2, 0, 0 };
    unsigned char packet[128];
    size_t len = sizeof head;
    int fd = client_dial(broker);
    memcpy(packet, head, sizeof head);
    packet[9] = (unsigned char)(2 | (username == NULL ? 0 : 0x80) | (password == NULL ? 0 : 0x40));
    len += put_text(packet + len, client_id);
    if (username != NULL)
        len += put_text(packet + len, username);
    if (password != NULL)
        len += put_text(packet + len, password);
    packet[1] = (unsigned char)(len - 2);
    send_all(fd, packet, len);
    return fd;
}

/* The return code of CONNACK. */
static int return_code(int fd)
{
    unsigned char connack[4];
    receive(fd, connack, sizeof connack);
    MUST(connack[0] == 0x20);
    return connack[3];
}

static int refused_with(int fd)
{
    int code = return_code(fd);
    CHECK(is_closed_by_peer(fd));
    return code;
}

/* Publishes at QoS 1 and waits for PUBACK. */
static void client_publishes(int fd, const char *topic, const char *text)
{
    unsigned char packet[128], puback[4];
    size_t len = 2 + put_text(packet + 2, topic);
    packet[0] = 0x32;
    packet[len++] = 0;
    packet[len++] = 7;
    memcpy(packet + len, text, strlen(text));
    len += strlen(text);
    packet[1] = (unsigned char)(len - 2);
    send_all(fd, packet, len);
    receive(fd, puback, sizeof puback);
    MUST(puback[0] == 0x40 && puback[3] == 7);
}

/* Whether the next message has this topic and payload. */
static int client_hears(int fd, const char *topic, const char *text)
{
    unsigned char head[2], body[128];
    size_t len = strlen(topic);
    receive(fd, head, 2);
    MUST((head[0] & 0xf0) == 0x30 && head[1] < sizeof body);
    receive(fd, body, head[1]);
    return head[1] == 2 + len + strlen(text) && memcmp(body + 2, topic, len) == 0
        && memcmp(body + 2 + len, text, strlen(text)) == 0;
}

/* ---- who is let in ---- */

static int32_t check_password(const midge_connect_request *request, midge_decision *decision, void *user_data)
{
    host *host_of = (host *)user_data;
    CHECK(request->struct_size == sizeof *request && request->protocol_version == 4 && request->clean_start == 1);
    CHECK(request->connection > 0 && request->keep_alive == 0 && decision != NULL);
    CHECK(bytes_are(request->listener, "tcp") && memcmp(request->address.data, "127.0.0.1:", 10) == 0);
    event_add(&host_of->asked);
    if (request->username.data == NULL) {
        CHECK(request->password.data == NULL);
        return MIDGE_DENY;
    }
    if (bytes_are(request->username, "banned"))
        return 0x8a;
    if (bytes_are(request->username, "odd"))
        return -17;
    if (bytes_are(request->username, "unused")) {
        /* Not deferred: the decision is of no use, and may be given back. */
        midge_decision_free(decision);
        return MIDGE_DENY;
    }
    return bytes_are(request->password, "secret") ? MIDGE_ALLOW : MIDGE_DENY;
}

static void a_password_is_asked_for(void)
{
    midge_hooks hooks = MIDGE_HOOKS_INIT;
    midge_stats stats = MIDGE_STATS_INIT;
    host host_of;
    int fd;
    host_init(&host_of);
    hooks.authenticate = check_password;
    start_hosted(&host_of, &hooks, "5s");
    fd = client_asks(host_of.broker, "a", "alice", "secret");
    CHECK(return_code(fd) == 0);
    CHECK(refused_with(client_asks(host_of.broker, "b", "alice", "wrong")) == 4);
    CHECK(refused_with(client_asks(host_of.broker, "b", NULL, NULL)) == 4);
    CHECK(refused_with(client_asks(host_of.broker, "b", "banned", NULL)) == 5);
    CHECK(refused_with(client_asks(host_of.broker, "b", "odd", NULL)) == 4);
    CHECK(refused_with(client_asks(host_of.broker, "b", "unused", NULL)) == 4);
    CHECK(event_count(&host_of.asked) == 6);
    CHECK_STATUS(MIDGE_STATUS_OK, midge_broker_stats(host_of.broker, &stats));
    CHECK(stats.clients_connected == 1 && stats.connections_refused == 5 && stats.hooks_failed == 0);
    close(fd);
    stop_hosted(&host_of);
}

/* ---- what is allowed ---- */

static int32_t check_topic(const midge_access_request *request, midge_decision *decision, void *user_data)
{
    host *host_of = (host *)user_data;
    (void)decision;
    CHECK(request->struct_size == sizeof *request && bytes_are(request->client_id, "a"));
    CHECK(bytes_are(request->username, "alice") && request->address.len > 10);
    CHECK(request->is_will == 0 && request->retain == 0);
    CHECK(request->qos == (request->action == MIDGE_ACTION_PUBLISH ? 1 : 0));
    event_add(&host_of->asked);
    return request->topic.len >= 6 && memcmp(request->topic.data, "secret", 6) == 0 ? MIDGE_DENY : MIDGE_ALLOW;
}

static void topics_are_asked_about(void)
{
    static const unsigned char subscribe[] = { 0x82, 16, 0, 1, 0, 8, 's', 'e', 'c', 'r', 'e', 't', '/', '#', 0,
                                               0, 0, 0 };
    unsigned char packet[sizeof subscribe], suback[6];
    midge_hooks hooks = MIDGE_HOOKS_INIT;
    midge_stats stats = MIDGE_STATS_INIT;
    host host_of;
    int fd;
    host_init(&host_of);
    hooks.authorize = check_topic;
    start_hosted(&host_of, &hooks, "5s");
    fd = client_asks(host_of.broker, "a", "alice", NULL);
    CHECK(return_code(fd) == 0);
    /* secret/# and x */
    memcpy(packet, subscribe, sizeof subscribe);
    packet[1] = 17;
    packet[15] = 0;
    packet[16] = 1;
    packet[17] = 'x';
    send_all(fd, packet, sizeof packet);
    send_all(fd, "\0", 1);
    receive(fd, suback, sizeof suback);
    CHECK(suback[0] == 0x90 && suback[4] == 0x80 && suback[5] == 0);
    client_publishes(fd, "secret", "1");
    client_publishes(fd, "open", "2");
    CHECK(event_count(&host_of.asked) == 4);
    CHECK_STATUS(MIDGE_STATUS_OK, midge_broker_stats(host_of.broker, &stats));
    CHECK(stats.messages_published == 1 && stats.messages_dropped_not_authorized == 1 && stats.subscriptions == 1);
    /* The host is not asked about itself. */
    CHECK_STATUS(MIDGE_STATUS_OK, publish_text(host_of.broker, "secret", "3"));
    CHECK(event_count(&host_of.asked) == 4);
    close(fd);
    stop_hosted(&host_of);
}

/* ---- what becomes of messages ---- */

static int32_t change(const midge_publish_request *request, midge_edit *edit, void *user_data)
{
    midge_publish_options options = MIDGE_PUBLISH_OPTIONS_INIT, wrong = MIDGE_PUBLISH_OPTIONS_INIT;
    midge_bytes payload = midge_message_payload(request->message);
    (void)user_data;
    CHECK(request->struct_size == sizeof *request && bytes_are(request->client_id, "a") && request->is_will == 0);
    CHECK(request->username.data == NULL && midge_message_qos(request->message) == 1);
    CHECK(midge_message_retained(request->message) == 0 && midge_message_expiry_interval(request->message) == -1);
    CHECK_STATUS(MIDGE_STATUS_TOPIC, midge_edit_set_topic(edit, "a/#"));
    CHECK_STATUS(MIDGE_STATUS_TOPIC, midge_edit_set_topic(edit, "\xff"));
    CHECK_STATUS(MIDGE_STATUS_INVALID_ARGUMENT, midge_edit_set_topic(edit, "$SYS/a"));
    CHECK_STATUS(MIDGE_STATUS_INVALID_ARGUMENT, midge_edit_set_topic(edit, NULL));
    CHECK_STATUS(MIDGE_STATUS_INVALID_ARGUMENT, midge_edit_set_payload(edit, NULL, 1));
    CHECK_STATUS(MIDGE_STATUS_INVALID_ARGUMENT, midge_edit_set_qos(edit, 3));
    CHECK_STATUS(MIDGE_STATUS_INVALID_ARGUMENT, midge_edit_set_retain(edit, 2));
    CHECK_STATUS(MIDGE_STATUS_INVALID_ARGUMENT, midge_edit_add_user_property(edit, "a", NULL));
    CHECK_STATUS(MIDGE_STATUS_INVALID_ARGUMENT, midge_edit_add_user_property(edit, "\xff", "a"));
    wrong.qos = -1;
    CHECK_STATUS(MIDGE_STATUS_INVALID_ARGUMENT, midge_edit_set_options(edit, &wrong));
    if (bytes_are(payload, "drop"))
        return MIDGE_DENY;
    if (bytes_are(payload, "change")) {
        options.content_type = "text";
        options.message_expiry_interval = 9;
        CHECK_STATUS(MIDGE_STATUS_OK, midge_edit_set_options(edit, &options));
        CHECK_STATUS(MIDGE_STATUS_OK, midge_edit_set_topic(edit, "b"));
        CHECK_STATUS(MIDGE_STATUS_OK, midge_edit_set_payload(edit, "changed", 7));
        CHECK_STATUS(MIDGE_STATUS_OK, midge_edit_set_qos(edit, 2));
        CHECK_STATUS(MIDGE_STATUS_OK, midge_edit_set_retain(edit, 1));
        CHECK_STATUS(MIDGE_STATUS_OK, midge_edit_add_user_property(edit, "by", "the host"));
        /* What was lent stays as it was. */
        CHECK(bytes_are(midge_message_topic(request->message), "a"));
        CHECK(bytes_are(midge_message_payload(request->message), "change"));
    }
    return MIDGE_ALLOW;
}

static void messages_are_changed_and_dropped(void)
{
    midge_hooks hooks = MIDGE_HOOKS_INIT;
    midge_stats stats = MIDGE_STATS_INIT;
    midge_subscribe_options options = MIDGE_SUBSCRIBE_OPTIONS_INIT;
    midge_subscription *subscription = NULL;
    midge_queue *queue = NULL;
    midge_batch *batch = NULL;
    const midge_message *message;
    midge_bytes name, value;
    host host_of;
    int fd;
    host_init(&host_of);
    hooks.on_publish = change;
    start_hosted(&host_of, &hooks, "5s");
    options.retain_as_published = 1;
    MUST(midge_queue_new(host_of.broker, NULL, &queue) == MIDGE_STATUS_OK);
    MUST(midge_queue_subscribe(queue, "#", &options, 0, &subscription, NULL) == MIDGE_STATUS_OK);
    fd = client_connect(host_of.broker, "a");
    client_publishes(fd, "a", "pass");
    client_publishes(fd, "a", "drop");
    client_publishes(fd, "a", "change");
    MUST(midge_queue_poll(queue, 10, -1, &batch) == MIDGE_STATUS_OK);
    MUST(midge_batch_count(batch) == 2);
    CHECK(bytes_are(midge_message_payload(midge_batch_at(batch, 0)), "pass"));
    message = midge_batch_at(batch, 1);
    CHECK(bytes_are(midge_message_topic(message), "b") && bytes_are(midge_message_payload(message), "changed"));
    CHECK(midge_message_qos(message) == 2 && midge_message_retained(message) == 1);
    CHECK(midge_message_expiry_interval(message) == 9 && bytes_are(midge_message_content_type(message), "text"));
    MUST(midge_message_user_property_count(message) == 1);
    CHECK_STATUS(MIDGE_STATUS_OK, midge_message_user_property_at(message, 0, &name, &value));
    CHECK(bytes_are(name, "by") && bytes_are(value, "the host"));
    CHECK_STATUS(MIDGE_STATUS_OK, midge_broker_stats(host_of.broker, &stats));
    CHECK(stats.messages_dropped_host == 1 && stats.retained_messages == 1);
    midge_batch_free(batch);
    midge_subscription_free(subscription);
    close(fd);
    midge_broker_free(host_of.broker);
    /* The queue keeps the hooks, too. */
    midge_queue_free(queue);
    CHECK(event_count(&host_of.freed) == 1);
}

/* ---- what the host is told ---- */

static void connected(const midge_connection_view *view, void *user_data)
{
    host *host_of = (host *)user_data;
    CHECK(view->struct_size == sizeof *view && view->connection > 0 && view->protocol_version == 4);
    CHECK(view->clean_start == 1 && view->session_present == 0 && view->keep_alive == 60);
    CHECK(view->username.data == NULL && bytes_are(view->listener, "tcp") && view->address.len > 10);
    say(host_of, "+", view->client_id);
    event_add(&host_of->told);
}

static void disconnected(const midge_disconnection_view *view, void *user_data)
{
    host *host_of = (host *)user_data;
    CHECK(view->struct_size == sizeof *view && view->connection > 0);
    CHECK(view->why.data != NULL && (view->reason_code >= 0x80) == (view->cause == MIDGE_CAUSE_REFUSED));
    host_of->cause = view->cause;
    say(host_of, "-", view->client_id);
    event_add(&host_of->told);
}

static void subscribed(const midge_subscription_view *view, void *user_data)
{
    CHECK(view->struct_size == sizeof *view && bytes_are(view->client_id, "a") && view->qos == 0);
    say((host *)user_data, "s:", view->filter);
}

static void unsubscribed(const midge_subscription_view *view, void *user_data)
{
    CHECK(view->struct_size == sizeof *view && bytes_are(view->client_id, "a"));
    say((host *)user_data, "u:", view->filter);
}

static void delivered(const midge_delivery_view *view, void *user_data)
{
    CHECK(view->struct_size == sizeof *view && view->reason.data == NULL && view->qos == 0);
    CHECK(bytes_are(view->client_id, "a"));
    say((host *)user_data, "m:", view->topic);
}

static void dropped(const midge_delivery_view *view, void *user_data)
{
    CHECK(view->struct_size == sizeof *view && view->qos == -1);
    say((host *)user_data, "d:", view->topic);
    say((host *)user_data, "for:", view->reason);
}

static void the_host_is_told_what_happens(void)
{
    static const unsigned char unsubscribe[] = { 0xa2, 5, 0, 1, 0, 1, 't' };
    unsigned char unsuback[4];
    midge_hooks hooks = MIDGE_HOOKS_INIT;
    host host_of;
    int fd;
    host_init(&host_of);
    hooks.on_connected = connected;
    hooks.on_disconnected = disconnected;
    hooks.on_subscribed = subscribed;
    hooks.on_unsubscribed = unsubscribed;
    hooks.on_delivered = delivered;
    hooks.on_dropped = dropped;
    start_hosted(&host_of, &hooks, "5s");
    fd = client_connect(host_of.broker, "a");
    client_subscribe(fd, "t");
    CHECK(notes_were(&host_of.told_of, "+a s:t "));
    CHECK_STATUS(MIDGE_STATUS_OK, publish_text(host_of.broker, "t", "x"));
    CHECK_STATUS(MIDGE_STATUS_OK, publish_text(host_of.broker, "nobody", "x"));
    CHECK(notes_were(&host_of.told_of, "m:t d:nobody for:no_subscriber "));
    CHECK(client_hears(fd, "t", "x"));
    send_all(fd, unsubscribe, sizeof unsubscribe);
    receive(fd, unsuback, sizeof unsuback);
    CHECK(notes_were(&host_of.told_of, "u:t "));
    CHECK_STATUS(MIDGE_STATUS_OK, midge_broker_kick(host_of.broker, "a"));
    CHECK(notes_were(&host_of.told_of, "-a ") && host_of.cause == MIDGE_CAUSE_KICKED);
    CHECK(is_closed_by_peer(fd));
    fd = client_connect(host_of.broker, "a");
    send_all(fd, "\xe0", 2);
    CHECK(is_closed_by_peer(fd) && event_wait(&host_of.told, 4) && host_of.cause == MIDGE_CAUSE_DISCONNECTED);
    fd = client_connect(host_of.broker, "a");
    send_all(fd, "\xf0", 2);
    CHECK(is_closed_by_peer(fd) && event_wait(&host_of.told, 6) && host_of.cause == MIDGE_CAUSE_REFUSED);
    close(client_connect(host_of.broker, "a"));
    CHECK(event_wait(&host_of.told, 8) && host_of.cause == MIDGE_CAUSE_CONNECTION_LOST);
    fd = client_connect(host_of.broker, "a");
    CHECK_STATUS(MIDGE_STATUS_OK, midge_stop(host_of.broker, -1));
    CHECK(event_count(&host_of.told) == 10 && host_of.cause == MIDGE_CAUSE_STOPPING);
    close(fd);
    stop_hosted(&host_of);
}

/* ---- decisions that come later ---- */

static int32_t later(const midge_connect_request *request, midge_decision *decision, void *user_data)
{
    host *host_of = (host *)user_data;
    if (!bytes_are(request->client_id, "later"))
        return MIDGE_ALLOW;
    host_of->decision = decision;
    event_add(&host_of->asked);
    return MIDGE_DEFER;
}

static void a_client_waits_for_a_decision(void)
{
    midge_hooks hooks = MIDGE_HOOKS_INIT;
    host host_of;
    int fd;
    host_init(&host_of);
    hooks.authenticate = later;
    start_hosted(&host_of, &hooks, "1h");
    fd = client_asks(host_of.broker, "later", NULL, NULL);
    MUST(event_wait(&host_of.asked, 1));
    /* Others go on. */
    close(client_connect(host_of.broker, "other"));
    CHECK_STATUS(MIDGE_STATUS_INVALID_ARGUMENT, midge_decision_resolve(host_of.decision, MIDGE_DEFER));
    CHECK_STATUS(MIDGE_STATUS_INVALID_ARGUMENT, midge_decision_resolve(host_of.decision, 0x7f));
    CHECK_STATUS(MIDGE_STATUS_INVALID_ARGUMENT, midge_decision_resolve(host_of.decision, -1));
    CHECK_STATUS(MIDGE_STATUS_INVALID_ARGUMENT, midge_decision_resolve(host_of.decision, 256));
    CHECK_STATUS(MIDGE_STATUS_OK, midge_decision_resolve(host_of.decision, MIDGE_ALLOW));
    CHECK(return_code(fd) == 0);
    close(fd);
    fd = client_asks(host_of.broker, "later", NULL, NULL);
    MUST(event_wait(&host_of.asked, 2));
    CHECK_STATUS(MIDGE_STATUS_OK, midge_decision_resolve(host_of.decision, 0x88));
    CHECK(refused_with(fd) == 3);
    fd = client_asks(host_of.broker, "later", NULL, NULL);
    MUST(event_wait(&host_of.asked, 3));
    midge_decision_free(host_of.decision);
    CHECK(refused_with(fd) == 4);
    /* The broker stops before; the decision is freed after all else. */
    fd = client_asks(host_of.broker, "later", NULL, NULL);
    MUST(event_wait(&host_of.asked, 4));
    CHECK_STATUS(MIDGE_STATUS_OK, midge_stop(host_of.broker, 0));
    CHECK(is_closed_by_peer(fd));
    stop_hosted(&host_of);
    CHECK_STATUS(MIDGE_STATUS_STATE, midge_decision_resolve(host_of.decision, MIDGE_ALLOW));
}

static void silence_denies(void)
{
    midge_hooks hooks = MIDGE_HOOKS_INIT;
    midge_stats stats = MIDGE_STATS_INIT;
    host host_of;
    host_init(&host_of);
    hooks.authenticate = later;
    start_hosted(&host_of, &hooks, "1ms");
    CHECK(refused_with(client_asks(host_of.broker, "later", NULL, NULL)) == 4);
    CHECK_STATUS(MIDGE_STATUS_STATE, midge_decision_resolve(host_of.decision, MIDGE_ALLOW));
    CHECK_STATUS(MIDGE_STATUS_OK, midge_broker_stats(host_of.broker, &stats));
    CHECK(stats.hooks_failed == 1);
    stop_hosted(&host_of);
}

static int32_t at_once(const midge_access_request *request, midge_decision *decision, void *user_data)
{
    host *host_of = (host *)user_data;
    (void)request;
    host_of->status = midge_decision_resolve(decision, MIDGE_ALLOW);
    event_add(&host_of->asked);
    return MIDGE_DEFER;
}

static void a_hook_may_resolve_its_own_decision(void)
{
    midge_hooks hooks = MIDGE_HOOKS_INIT;
    host host_of;
    int fd;
    host_init(&host_of);
    hooks.authorize = at_once;
    start_hosted(&host_of, &hooks, "5s");
    fd = client_connect(host_of.broker, "a");
    client_subscribe(fd, "t");
    CHECK_STATUS(MIDGE_STATUS_OK, host_of.status);
    client_publishes(fd, "nobody", "x");
    CHECK(event_count(&host_of.asked) == 2);
    close(fd);
    stop_hosted(&host_of);
}

static void *resolve_on_a_thread(void *user_data)
{
    host *host_of = (host *)user_data;
    int round;
    for (round = 1; round <= 50; round++) {
        MUST(event_wait(&host_of->asked, round));
        CHECK_STATUS(MIDGE_STATUS_OK, midge_decision_resolve(host_of->decision, MIDGE_ALLOW));
    }
    return NULL;
}

static int32_t later_access(const midge_access_request *request, midge_decision *decision, void *user_data)
{
    host *host_of = (host *)user_data;
    (void)request;
    host_of->decision = decision;
    event_add(&host_of->asked);
    return MIDGE_DEFER;
}

static void decisions_are_made_on_another_thread(void)
{
    midge_hooks hooks = MIDGE_HOOKS_INIT;
    host host_of;
    pthread_t thread;
    int fd, round;
    host_init(&host_of);
    hooks.authorize = later_access;
    start_hosted(&host_of, &hooks, "1h");
    MUST(pthread_create(&thread, NULL, resolve_on_a_thread, &host_of) == 0);
    fd = client_connect(host_of.broker, "a");
    for (round = 0; round < 50; round++)
        client_publishes(fd, "t", "x");
    pthread_join(thread, NULL);
    close(fd);
    stop_hosted(&host_of);
}

/* ---- enhanced authentication ---- */

/* Asks a riddle, at once or later; the client "later" is decided about by the test. */
static int32_t ask_a_riddle(const midge_connect_request *request, midge_decision *decision, void *user_data)
{
    static const char riddle[] = "what has keys but opens no lock?";
    host *host_of = (host *)user_data;
    CHECK(request->struct_size == sizeof *request && request->protocol_version == 5);
    CHECK(request->password.data == NULL);
    if (bytes_are(request->auth_method, "forgotten"))
        return MIDGE_ALLOW;
    if (!bytes_are(request->auth_method, "riddle"))
        return 0x8c;
    say(host_of, request->reauthenticates ? "again:" : "new:", request->auth_data);
    if (bytes_are(request->client_id, "later")) {
        host_of->decision = decision;
        event_add(&host_of->asked);
        return MIDGE_DEFER;
    }
    /* What is wrong leaves the decision open. */
    CHECK_STATUS(MIDGE_STATUS_INVALID_ARGUMENT, midge_decision_resolve_auth(decision, MIDGE_DENY, "", 0));
    CHECK_STATUS(MIDGE_STATUS_INVALID_ARGUMENT, midge_decision_resolve_auth(decision, MIDGE_CONTINUE, NULL, 1));
    CHECK_STATUS(MIDGE_STATUS_INVALID_ARGUMENT, midge_decision_resolve_auth(decision, MIDGE_CONTINUE, riddle, 65536));
    CHECK_STATUS(MIDGE_STATUS_INVALID_ARGUMENT, midge_decision_resolve(decision, MIDGE_CONTINUE));
    if (request->auth_step == 0)
        host_of->status = midge_decision_resolve_auth(decision, MIDGE_CONTINUE, riddle, strlen(riddle));
    else if (bytes_are(request->auth_data, "a piano"))
        host_of->status = midge_decision_resolve_auth(decision, MIDGE_ALLOW, NULL, 0);
    else
        return MIDGE_DENY;
    return MIDGE_DEFER;
}

/* The properties Authentication Method and Authentication Data, behind their length. */
static size_t put_proof(unsigned char *to, const char *method, const char *data)
{
    size_t len = 1;
    to[len++] = 0x15;
    len += put_text(to + len, method);
    if (data != NULL) {
        to[len++] = 0x16;
        len += put_text(to + len, data);
    }
    to[0] = (unsigned char)(len - 1);
    return len;
}

/* Sends CONNECT of MQTT 5 with a method; data NULL is none. */
static int client_proves(midge_broker *broker, const char *client_id, const char *method, const char *data)
{
    static const unsigned char head[] = { 0x10, 0, 0, 4, 'M', 'Q', 'T', 'T', 5, 2, 0, 0 };
    unsigned char packet[128];
    size_t len = sizeof head;
    int fd = client_dial(broker);
    memcpy(packet, head, sizeof head);
    len += put_proof(packet + len, method, data);
    len += put_text(packet + len, client_id);
    packet[1] = (unsigned char)(len - 2);
    send_all(fd, packet, len);
    return fd;
}

static void client_says(int fd, int reason, const char *data)
{
    unsigned char packet[128];
    size_t len = 3 + put_proof(packet + 3, "riddle", data);
    packet[0] = 0xf0;
    packet[1] = (unsigned char)(len - 2);
    packet[2] = (unsigned char)reason;
    send_all(fd, packet, len);
}

/* Whether the next packet is of a type with a reason code, and has this text in it. */
static int hears(int fd, int type, int reason, const char *text)
{
    unsigned char packet[130];
    size_t at = type == 0x20 ? 3 : 2, len = strlen(text), from;
    receive(fd, packet, 2);
    MUST(packet[1] < 128);
    receive(fd, packet + 2, packet[1]);
    if (packet[0] != type || packet[at] != reason)
        printf("# it hears %02x with %02x\n", packet[0], packet[at]);
    for (from = 0; from + len <= (size_t)packet[1] + 2; from++)
        if (memcmp(packet + from, text, len) == 0)
            return packet[0] == type && packet[at] == reason;
    return 0;
}

static void a_client_solves_a_riddle(void)
{
    midge_hooks hooks = MIDGE_HOOKS_INIT;
    host host_of;
    int fd;
    host_init(&host_of);
    hooks.authenticate = ask_a_riddle;
    start_hosted(&host_of, &hooks, "5s");
    fd = client_proves(host_of.broker, "a", "riddle", "hello");
    CHECK(hears(fd, 0xf0, 0x18, "riddle"));
    client_says(fd, 0x18, "a piano");
    CHECK(hears(fd, 0x20, 0, "riddle"));
    CHECK_STATUS(MIDGE_STATUS_OK, host_of.status);
    client_says(fd, 0x19, NULL);
    CHECK(hears(fd, 0xf0, 0x18, "opens no lock?"));
    client_says(fd, 0x18, "a piano");
    CHECK(hears(fd, 0xf0, 0, "riddle"));
    client_says(fd, 0x19, NULL);
    CHECK(hears(fd, 0xf0, 0x18, "opens no lock?"));
    client_says(fd, 0x18, "a car");
    CHECK(hears(fd, 0xe0, 0x87, ""));
    CHECK(is_closed_by_peer(fd));
    CHECK(notes_were(&host_of.told_of, "new:hello new:a piano again: again:a piano again: again:a car "));
    fd = client_proves(host_of.broker, "a", "riddle", NULL);
    CHECK(hears(fd, 0xf0, 0x18, "riddle"));
    client_says(fd, 0x18, "a car");
    CHECK(hears(fd, 0x20, 0x87, ""));
    CHECK(is_closed_by_peer(fd));
    stop_hosted(&host_of);
}

static void a_method_that_nobody_knows_is_refused(void)
{
    midge_hooks hooks = MIDGE_HOOKS_INIT;
    midge_broker *broker = start();
    host host_of;
    int fd;
    host_init(&host_of);
    hooks.authenticate = ask_a_riddle;
    start_hosted(&host_of, &hooks, "5s");
    fd = client_proves(host_of.broker, "a", "SCRAM-SHA-256", "x");
    CHECK(hears(fd, 0x20, 0x8c, ""));
    CHECK(is_closed_by_peer(fd));
    /* The hook knows nothing of methods. */
    fd = client_proves(host_of.broker, "a", "forgotten", "x");
    CHECK(hears(fd, 0x20, 0x8c, ""));
    CHECK(is_closed_by_peer(fd));
    stop_hosted(&host_of);
    /* There is no hook. */
    fd = client_proves(broker, "a", "riddle", "x");
    CHECK(hears(fd, 0x20, 0x8c, ""));
    CHECK(is_closed_by_peer(fd));
    midge_broker_free(broker);
}

static char longest[65535];

static int32_t say_much(const midge_connect_request *request, midge_decision *decision, void *user_data)
{
    host *host_of = (host *)user_data;
    (void)request;
    host_of->status = midge_decision_resolve_auth(decision, MIDGE_CONTINUE, longest, sizeof longest);
    return MIDGE_DEFER;
}

static void a_client_is_told_as_much_as_mqtt_carries(void)
{
    static char packet[4 + 1 + 3 + 9 + 3 + sizeof longest];
    midge_hooks hooks = MIDGE_HOOKS_INIT;
    host host_of;
    int fd;
    memset(longest, 'l', sizeof longest);
    host_init(&host_of);
    hooks.authenticate = say_much;
    start_hosted(&host_of, &hooks, "5s");
    fd = client_proves(host_of.broker, "a", "riddle", NULL);
    receive(fd, packet, sizeof packet);
    CHECK_STATUS(MIDGE_STATUS_OK, host_of.status);
    CHECK((unsigned char)packet[0] == 0xf0 && packet[4] == 0x18);
    CHECK(memcmp(packet + sizeof packet - sizeof longest, longest, sizeof longest) == 0);
    close(fd);
    stop_hosted(&host_of);
}

static void each_step_may_come_later(void)
{
    midge_hooks hooks = MIDGE_HOOKS_INIT;
    host host_of;
    int fd;
    host_init(&host_of);
    hooks.authenticate = ask_a_riddle;
    start_hosted(&host_of, &hooks, "1h");
    fd = client_proves(host_of.broker, "later", "riddle", "1");
    CHECK(event_wait(&host_of.asked, 1));
    CHECK_STATUS(MIDGE_STATUS_OK, midge_decision_resolve_auth(host_of.decision, MIDGE_CONTINUE, "more?", 5));
    CHECK(hears(fd, 0xf0, 0x18, "more?"));
    client_says(fd, 0x18, "2");
    CHECK(event_wait(&host_of.asked, 2));
    CHECK_STATUS(MIDGE_STATUS_OK, midge_decision_resolve_auth(host_of.decision, MIDGE_ALLOW, "fine", 4));
    CHECK(hears(fd, 0x20, 0, "fine"));
    client_says(fd, 0x19, "3");
    CHECK(event_wait(&host_of.asked, 3));
    /* Who is gone needs no answer. */
    close(fd);
    CHECK_STATUS(MIDGE_STATUS_OK, midge_stop(host_of.broker, 0));
    CHECK_STATUS(MIDGE_STATUS_STATE, midge_decision_resolve_auth(host_of.decision, MIDGE_ALLOW, "late", 4));
    CHECK(notes_were(&host_of.told_of, "new:1 new:2 again:3 "));
    stop_hosted(&host_of);
}

/* ---- what a hook may do ---- */

static int32_t do_all(const midge_access_request *request, midge_decision *decision, void *user_data)
{
    host *host_of = (host *)user_data;
    midge_clients *clients = NULL;
    midge_stats stats = MIDGE_STATS_INIT;
    midge_queue *queue = NULL;
    midge_subscription *subscription = NULL;
    (void)decision;
    CHECK_STATUS(MIDGE_STATUS_IN_CALLBACK, midge_stop(host_of->broker, 0));
    CHECK_STATUS(MIDGE_STATUS_IN_CALLBACK, midge_broker_wait(host_of->broker, 0));
    CHECK_STATUS(MIDGE_STATUS_OK, midge_queue_new(host_of->broker, NULL, &queue));
    CHECK_STATUS(MIDGE_STATUS_OK, midge_queue_subscribe(queue, "b", NULL, 0, &subscription, NULL));
    CHECK_STATUS(MIDGE_STATUS_OK, publish_text(host_of->broker, "b", "x"));
    CHECK(midge_queue_len(queue) == 1);
    midge_subscription_free(subscription);
    midge_queue_free(queue);
    CHECK_STATUS(MIDGE_STATUS_OK, midge_broker_clients(host_of->broker, &clients));
    CHECK(midge_clients_count(clients) == 1);
    midge_clients_free(clients);
    CHECK_STATUS(MIDGE_STATUS_OK, midge_broker_stats(host_of->broker, &stats));
    if (bytes_are(request->topic, "kick"))
        CHECK_STATUS(MIDGE_STATUS_OK, midge_broker_kick(host_of->broker, "a"));
    return MIDGE_ALLOW;
}

static void a_hook_does_what_a_host_does_but_stop(void)
{
    static const unsigned char publish[] = { 0x30, 6, 0, 4, 'k', 'i', 'c', 'k' };
    midge_hooks hooks = MIDGE_HOOKS_INIT;
    host host_of;
    int fd;
    host_init(&host_of);
    hooks.authorize = do_all;
    start_hosted(&host_of, &hooks, "5s");
    fd = client_connect(host_of.broker, "a");
    client_publishes(fd, "t", "x");
    client_subscribe(fd, "t");
    send_all(fd, publish, sizeof publish);
    CHECK(is_closed_by_peer(fd));
    stop_hosted(&host_of);
}

/* On the thread of the host that publishes. */
static void stop_within(const midge_delivery_view *view, void *user_data)
{
    host *host_of = (host *)user_data;
    (void)view;
    host_of->status = midge_stop(host_of->broker, 0);
    event_add(&host_of->told);
    if (event_count(&host_of->told) < 10)
        CHECK_STATUS(MIDGE_STATUS_OK, publish_text(host_of->broker, "again", "x"));
}

static void a_notice_inside_the_host_s_own_publish_cannot_stop(void)
{
    midge_hooks hooks = MIDGE_HOOKS_INIT;
    host host_of;
    host_init(&host_of);
    hooks.on_dropped = stop_within;
    start_hosted(&host_of, &hooks, "5s");
    CHECK_STATUS(MIDGE_STATUS_OK, publish_text(host_of.broker, "nobody", "x"));
    CHECK(event_count(&host_of.told) == 10);
    CHECK_STATUS(MIDGE_STATUS_IN_CALLBACK, host_of.status);
    CHECK_STATUS(MIDGE_STATUS_OK, midge_stop(host_of.broker, 0));
    stop_hosted(&host_of);
}

static void free_within(const midge_delivery_view *view, void *user_data)
{
    host *host_of = (host *)user_data;
    (void)view;
    midge_broker_free(host_of->broker);
    event_add(&host_of->told);
}

static void a_notice_inside_the_host_s_own_publish_frees_the_broker(void)
{
    midge_hooks hooks = MIDGE_HOOKS_INIT;
    host host_of;
    host_init(&host_of);
    hooks.on_dropped = free_within;
    start_hosted(&host_of, &hooks, "5s");
    CHECK_STATUS(MIDGE_STATUS_OK, publish_text(host_of.broker, "nobody", "x"));
    CHECK(event_count(&host_of.told) == 1 && event_wait(&host_of.freed, 1));
}

static void *wait_for_the_end(void *user_data)
{
    host *host_of = (host *)user_data;
    midge_broker *broker = host_of->broker;
    char task[96];
    own_task(task, sizeof task);
    note(&host_of->told_of, "%s", task);
    event_add(&host_of->asked);
    CHECK_STATUS(MIDGE_STATUS_OK, midge_broker_wait(broker, PATIENCE * 1000));
    return NULL;
}

static void who_waits_for_the_end_is_told_when_a_notice_frees_the_broker(void)
{
    midge_hooks hooks = MIDGE_HOOKS_INIT;
    pthread_t thread;
    host host_of;
    host_init(&host_of);
    hooks.on_dropped = free_within;
    start_hosted(&host_of, &hooks, "5s");
    MUST(pthread_create(&thread, NULL, wait_for_the_end, &host_of) == 0);
    MUST(event_wait(&host_of.asked, 1));
    wait_until_asleep(host_of.told_of.text);
    CHECK_STATUS(MIDGE_STATUS_OK, publish_text(host_of.broker, "nobody", "x"));
    pthread_join(thread, NULL);
    CHECK(event_wait(&host_of.freed, 1));
}

/* ---- user data ---- */

static void user_data_is_freed_once_when_nobody_has_the_hooks(void)
{
    midge_config *config = config_on_free_port(), *copy = NULL;
    midge_hooks hooks = MIDGE_HOOKS_INIT;
    midge_broker *first = NULL, *second = NULL;
    host host_of;
    host_init(&host_of);
    hooks.user_data = &host_of;
    hooks.free_user_data = freed;
    /* It fails. */
    CHECK_STATUS(MIDGE_STATUS_INVALID_ARGUMENT, midge_config_set_hooks(NULL, &hooks));
    CHECK(event_count(&host_of.freed) == 1);
    /* Nobody would call them. */
    CHECK_STATUS(MIDGE_STATUS_OK, midge_config_set_hooks(config, &hooks));
    CHECK(event_count(&host_of.freed) == 2);
    hooks.authorize = check_topic;
    CHECK_STATUS(MIDGE_STATUS_OK, midge_config_set_hooks(config, &hooks));
    CHECK_STATUS(MIDGE_STATUS_OK, midge_config_set_hooks(config, NULL));
    CHECK(event_count(&host_of.freed) == 3);
    CHECK_STATUS(MIDGE_STATUS_OK, midge_config_set_hooks(config, &hooks));
    CHECK_STATUS(MIDGE_STATUS_OK, midge_config_clone(config, &copy));
    MUST(midge_start(config, &first, NULL) == MIDGE_STATUS_OK);
    MUST(midge_start(copy, &second, NULL) == MIDGE_STATUS_OK);
    midge_config_free(copy);
    midge_broker_free(first);
    CHECK_STATUS(MIDGE_STATUS_OK, midge_config_set_hooks(config, NULL));
    midge_config_free(config);
    CHECK(event_count(&host_of.freed) == 3);
    midge_broker_free(second);
    CHECK(event_count(&host_of.freed) == 4);
}

int main(void)
{
    RUN(a_password_is_asked_for);
    RUN(topics_are_asked_about);
    RUN(messages_are_changed_and_dropped);
    RUN(the_host_is_told_what_happens);
    RUN(a_client_waits_for_a_decision);
    RUN(silence_denies);
    RUN(a_hook_may_resolve_its_own_decision);
    RUN(decisions_are_made_on_another_thread);
    RUN(a_client_solves_a_riddle);
    RUN(a_method_that_nobody_knows_is_refused);
    RUN(a_client_is_told_as_much_as_mqtt_carries);
    RUN(each_step_may_come_later);
    RUN(a_hook_does_what_a_host_does_but_stop);
    RUN(a_notice_inside_the_host_s_own_publish_cannot_stop);
    RUN(a_notice_inside_the_host_s_own_publish_frees_the_broker);
    RUN(who_waits_for_the_end_is_told_when_a_notice_frees_the_broker);
    RUN(user_data_is_freed_once_when_nobody_has_the_hooks);
    FINISH();
}
