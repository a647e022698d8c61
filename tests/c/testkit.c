/* The test kit in C: a broker on a free port, a clock that the test moves, faults, what was published. */
#include "check.h"

static midge_broker *start_test(void)
{
    midge_broker *broker = NULL;
    MUST(midge_start_test(NULL, &broker, NULL) == MIDGE_STATUS_OK);
    return broker;
}

static midge_fault fault_of(int32_t action, int32_t packet_type, const char *client_id)
{
    midge_fault fault = MIDGE_FAULT_INIT;
    fault.action = action;
    fault.packet_type = packet_type;
    fault.client_id = client_id;
    return fault;
}

static uint64_t inject(midge_broker *broker, const midge_fault *fault)
{
    uint64_t id = 0;
    midge_error *error = NULL;
    CHECK_STATUS(MIDGE_STATUS_OK, midge_broker_inject(broker, fault, &id, &error));
    CHECK(id != 0 && error == NULL);
    return id;
}

/* Sends a QoS 1 message of one letter. */
static void publish_qos1(int fd, const char *topic, char payload, unsigned char packet_id)
{
    unsigned char packet[80];
    size_t len = strlen(topic);
    packet[0] = 0x32;
    packet[1] = (unsigned char)(5 + len);
    packet[2] = 0;
    packet[3] = (unsigned char)len;
    memcpy(packet + 4, topic, len);
    packet[4 + len] = 0;
    packet[5 + len] = packet_id;
    packet[6 + len] = (unsigned char)payload;
    send_all(fd, packet, 7 + len);
}

static int receives_puback(int fd, unsigned char packet_id)
{
    unsigned char puback[4];
    receive(fd, puback, sizeof puback);
    return puback[0] == 0x40 && puback[3] == packet_id;
}

static void ping(int fd)
{
    unsigned char pingresp[2];
    send_all(fd, "\xC0\0", 2);
    receive(fd, pingresp, sizeof pingresp);
    CHECK(pingresp[0] == 0xD0);
}

static void a_test_broker_is_at_a_free_port_whatever_else_is_set(void)
{
    midge_config *config = NULL;
    midge_broker *first = start_test(), *second = NULL;
    MUST(midge_config_new(&config) == MIDGE_STATUS_OK);
    MUST(midge_config_set(config, "mqtt.max_qos", "1", NULL) == MIDGE_STATUS_OK);
    CHECK_STATUS(MIDGE_STATUS_OK, midge_start_test(config, &second, NULL));
    CHECK(strncmp(midge_broker_address(second, "tcp"), "127.0.0.1:", 10) == 0);
    CHECK(strcmp(midge_broker_address(first, "tcp"), midge_broker_address(second, "tcp")) != 0);
    midge_config_free(config);
    midge_broker_free(second);
    midge_broker_free(first);
}

static void an_error_names_the_setting(void)
{
    midge_broker *first = start_test(), *second = NULL;
    midge_config *config = NULL;
    midge_error *error = NULL;
    MUST(midge_config_new(&config) == MIDGE_STATUS_OK);
    MUST(midge_config_set(config, "listener.tcp.bind", midge_broker_address(first, NULL), NULL) == MIDGE_STATUS_OK);
    CHECK_STATUS(MIDGE_STATUS_ADDRESS_IN_USE, midge_start_test(config, &second, &error));
    CHECK(error_is(error, MIDGE_STATUS_ADDRESS_IN_USE, "listener.tcp.bind: 127.0.0.1:") && second == NULL);
    midge_config_free(config);
    midge_broker_free(first);
}

/* Clients of check.h have a keep alive of 60 seconds. */
static void a_keep_alive_passes_when_the_test_says_so(void)
{
    midge_broker *broker = start_test();
    int fd = client_connect(broker, "a");
    CHECK_STATUS(MIDGE_STATUS_OK, midge_broker_advance(broker, 89999));
    ping(fd);
    CHECK_STATUS(MIDGE_STATUS_OK, midge_broker_advance(broker, 90000));
    CHECK(midge_broker_time(broker) == 179999);
    CHECK_STATUS(MIDGE_STATUS_OK, midge_broker_wait_for_client(broker, "a", 0, 0));
    CHECK(is_closed_by_peer(fd));
    midge_broker_free(broker);
}

static void what_was_published_is_remembered(void)
{
    midge_broker *broker = start_test();
    midge_batch *batch = NULL;
    midge_error *error = NULL;
    int fd = client_connect(broker, "a");
    CHECK_STATUS(MIDGE_STATUS_OK, midge_broker_advance(broker, 5));
    publish_qos1(fd, "a/b", 'x', 1);
    CHECK(receives_puback(fd, 1));
    CHECK_STATUS(MIDGE_STATUS_OK, publish_text(broker, "a/c", "y"));
    CHECK_STATUS(MIDGE_STATUS_OK, midge_broker_published(broker, "a/+", &batch, NULL));
    CHECK(midge_batch_count(batch) == 2);
    CHECK(bytes_are(midge_message_topic(midge_batch_at(batch, 0)), "a/b"));
    CHECK(bytes_are(midge_message_payload(midge_batch_at(batch, 0)), "x"));
    CHECK(midge_message_qos(midge_batch_at(batch, 0)) == 1 && midge_message_tag(midge_batch_at(batch, 0)) == 5);
    midge_batch_free(batch);
    CHECK_STATUS(MIDGE_STATUS_OK, midge_broker_wait_for(broker, "#", 2, 0, &error));
    CHECK(error == NULL);
    CHECK_STATUS(MIDGE_STATUS_TIMED_OUT, midge_broker_wait_for(broker, "b", 1, 0, &error));
    CHECK(error_is(error, MIDGE_STATUS_TIMED_OUT, "\"a/b\": \"x\""));
    CHECK_STATUS(MIDGE_STATUS_OK, midge_broker_forget_published(broker));
    CHECK_STATUS(MIDGE_STATUS_OK, midge_broker_published(broker, "#", &batch, NULL));
    CHECK(midge_batch_count(batch) == 0);
    midge_batch_free(batch);
    close(fd);
    midge_broker_free(broker);
}

static void a_lost_puback_is_asked_for_again(void)
{
    midge_broker *broker = start_test();
    const midge_fault lost = fault_of(MIDGE_FAULT_DROP, MIDGE_PACKET_PUBACK, "a");
    uint64_t id = inject(broker, &lost), hits = 0;
    int fd = client_connect(broker, "a");
    publish_qos1(fd, "t", 'x', 1);
    CHECK_STATUS(MIDGE_STATUS_OK, midge_broker_fault_hits(broker, id, 1, PATIENCE * 1000, &hits));
    CHECK(hits == 1);
    ping(fd);
    publish_qos1(fd, "t", 'x', 1);
    CHECK(receives_puback(fd, 1));
    close(fd);
    midge_broker_free(broker);
}

static void a_late_puback_comes_in_the_broker_s_time(void)
{
    midge_broker *broker = start_test();
    midge_fault late = fault_of(MIDGE_FAULT_DELAY, MIDGE_PACKET_PUBACK, NULL);
    int fd = client_connect(broker, "a");
    late.delay_ms = 5000;
    inject(broker, &late);
    publish_qos1(fd, "t", 'x', 1);
    CHECK_STATUS(MIDGE_STATUS_OK, midge_broker_advance(broker, 4999));
    ping(fd);
    CHECK_STATUS(MIDGE_STATUS_OK, midge_broker_advance(broker, 1));
    CHECK(receives_puback(fd, 1));
    close(fd);
    midge_broker_free(broker);
}

static void a_doubled_puback_comes_twice(void)
{
    midge_broker *broker = start_test();
    const midge_fault doubled = fault_of(MIDGE_FAULT_DUPLICATE, MIDGE_PACKET_PUBACK, NULL);
    int fd = client_connect(broker, "a");
    inject(broker, &doubled);
    publish_qos1(fd, "t", 'x', 7);
    CHECK(receives_puback(fd, 7));
    CHECK(receives_puback(fd, 7));
    ping(fd);
    close(fd);
    midge_broker_free(broker);
}

static int32_t prove_twice(const midge_connect_request *request, midge_decision *decision, void *user_data)
{
    (void)user_data;
    CHECK_STATUS(MIDGE_STATUS_OK, midge_decision_resolve_auth(decision, request->auth_step == 0 ? MIDGE_CONTINUE : MIDGE_ALLOW, NULL, 0));
    return MIDGE_DEFER;
}

/* Receives packets of less than 128 bytes, the last of them of this type, and appends a letter for each; 0 is the end of
 * the connection. */
static void hear_until(int fd, int type, char *heard)
{
    static const char letters[] = "??CPKRLM?S?U?GDA";
    struct pollfd ready = { fd, POLLIN, 0 };
    unsigned char packet[130];
    do {
        MUST(poll(&ready, 1, PATIENCE * 1000) == 1);
        if (type == 0 && recv(fd, packet, 1, MSG_PEEK) <= 0)
            return;
        receive(fd, packet, 2);
        MUST(packet[1] < 128 && strlen(heard) < 30);
        receive(fd, packet + 2, packet[1]);
        heard[strlen(heard) + 1] = '\0';
        heard[strlen(heard)] = letters[packet[0] >> 4];
    } while (packet[0] >> 4 != type);
}

/* A client gets a packet of each kind that a server sends, while a fault doubles one of them. */
static void hear_every_packet(int32_t doubled, char *heard)
{
    midge_hooks hooks = MIDGE_HOOKS_INIT;
    midge_config *config = NULL;
    midge_broker *broker = NULL;
    midge_publish_options options = MIDGE_PUBLISH_OPTIONS_INIT;
    const midge_fault fault = fault_of(MIDGE_FAULT_DUPLICATE, doubled, NULL);
    int fd;
    memset(heard, 0, 32);
    hooks.authenticate = prove_twice;
    MUST(midge_config_new(&config) == MIDGE_STATUS_OK);
    MUST(midge_config_set_hooks(config, &hooks) == MIDGE_STATUS_OK);
    MUST(midge_start_test(config, &broker, NULL) == MIDGE_STATUS_OK);
    midge_config_free(config);
    if (doubled != MIDGE_PACKET_ANY)
        inject(broker, &fault);
    fd = client_dial(broker);
    send_all(fd, "\x10\x12\0\4MQTT\5\2\0\x1e\4\x15\0\1m\0\1a", 20);
    hear_until(fd, MIDGE_PACKET_AUTH, heard);
    send_all(fd, "\xf0\6\x18\4\x15\0\1m", 8);
    hear_until(fd, MIDGE_PACKET_CONNACK, heard);
    send_all(fd, "\x82\7\0\1\0\0\1t\2", 9);
    hear_until(fd, MIDGE_PACKET_SUBACK, heard);
    send_all(fd, "\xc0\0", 2);
    hear_until(fd, MIDGE_PACKET_PINGRESP, heard);
    send_all(fd, "\x32\6\0\1k\0\2\0", 8);
    hear_until(fd, MIDGE_PACKET_PUBACK, heard);
    send_all(fd, "\x34\6\0\1k\0\3\0", 8);
    hear_until(fd, MIDGE_PACKET_PUBREC, heard);
    send_all(fd, "\x62\2\0\3", 4);
    hear_until(fd, MIDGE_PACKET_PUBCOMP, heard);
    options.qos = 2;
    CHECK_STATUS(MIDGE_STATUS_OK, midge_publish(broker, "t", "x", 1, &options));
    hear_until(fd, MIDGE_PACKET_PUBLISH, heard);
    send_all(fd, "\x50\2\0\1", 4);
    hear_until(fd, MIDGE_PACKET_PUBREL, heard);
    send_all(fd, "\x70\2\0\1\xa2\6\0\4\0\0\1t", 12);
    hear_until(fd, MIDGE_PACKET_UNSUBACK, heard);
    CHECK_STATUS(MIDGE_STATUS_OK, midge_broker_kick(broker, "a"));
    hear_until(fd, 0, heard);
    close(fd);
    midge_broker_free(broker);
}

static void a_fault_meets_packets_of_its_kind_alone(void)
{
    static const int32_t kinds[] = { MIDGE_PACKET_AUTH,   MIDGE_PACKET_CONNACK, MIDGE_PACKET_SUBACK, MIDGE_PACKET_PINGRESP,
                                     MIDGE_PACKET_PUBACK, MIDGE_PACKET_PUBREC,  MIDGE_PACKET_PUBCOMP, MIDGE_PACKET_PUBLISH,
                                     MIDGE_PACKET_PUBREL, MIDGE_PACKET_UNSUBACK, MIDGE_PACKET_DISCONNECT };
    static const char every[] = "ACSGKRMPLUD";
    char heard[32], expected[32];
    size_t index, at;
    hear_every_packet(MIDGE_PACKET_ANY, heard);
    CHECK(strcmp(heard, every) == 0);
    for (index = 0; index < sizeof every - 1; index++) {
        for (at = 0; at < sizeof every; at++)
            expected[at + (at > index)] = every[at];
        expected[index + 1] = every[index];
        hear_every_packet(kinds[index], heard);
        if (strcmp(heard, expected) != 0)
            printf("# %s came, not %s\n", heard, expected);
        CHECK(strcmp(heard, expected) == 0);
    }
}

static void a_fault_meets_its_client_and_spares_the_first(void)
{
    midge_broker *broker = start_test();
    midge_fault lost = fault_of(MIDGE_FAULT_DROP, MIDGE_PACKET_PINGRESP, "b");
    int a = client_connect(broker, "a"), b = client_connect(broker, "b");
    uint64_t id, hits = 9;
    lost.after = 1;
    lost.count = 2;
    id = inject(broker, &lost);
    ping(a);
    ping(a);
    ping(b);
    CHECK_STATUS(MIDGE_STATUS_OK, midge_broker_fault_hits(broker, id, 0, 0, &hits));
    CHECK(hits == 0);
    send_all(b, "\xC0\0\xC0\0", 4);
    CHECK_STATUS(MIDGE_STATUS_OK, midge_broker_fault_hits(broker, id, 2, PATIENCE * 1000, &hits));
    CHECK(hits == 2);
    ping(b);
    CHECK_STATUS(MIDGE_STATUS_OK, midge_broker_advance(broker, 0));
    CHECK(!is_readable(a) && !is_readable(b));
    close(a);
    close(b);
    midge_broker_free(broker);
}

static void all_faults_are_cleared_at_once(void)
{
    midge_broker *broker = start_test();
    midge_fault lost = fault_of(MIDGE_FAULT_DROP, MIDGE_PACKET_ANY, NULL);
    int fd = client_connect(broker, "a");
    lost.count = 0;
    inject(broker, &lost);
    inject(broker, &lost);
    CHECK_STATUS(MIDGE_STATUS_OK, midge_broker_pause(broker, "a", 1));
    CHECK_STATUS(MIDGE_STATUS_OK, midge_broker_clear_fault(broker, 0));
    ping(fd);
    close(fd);
    midge_broker_free(broker);
}

/* A CONNECT of a client "a" of MQTT 3.1.1, and the return code that it gets. */
static int return_code(midge_broker *broker)
{
    static const unsigned char packet[] = { 0x10, 13, 0, 4, 'M', 'Q', 'T', 'T', 4, 2, 0, 0, 0, 1, 'a' };
    unsigned char connack[4];
    int fd = client_dial(broker);
    send_all(fd, packet, sizeof packet);
    receive(fd, connack, sizeof connack);
    close(fd);
    return connack[3];
}

static void a_connect_is_refused_until_the_fault_is_cleared(void)
{
    midge_broker *broker = start_test();
    midge_fault refused = fault_of(MIDGE_FAULT_REFUSE, MIDGE_PACKET_ANY, NULL);
    uint64_t id;
    refused.reason_code = 0x87;
    refused.count = 0;
    id = inject(broker, &refused);
    CHECK(return_code(broker) == 5 && return_code(broker) == 5);
    CHECK_STATUS(MIDGE_STATUS_OK, midge_broker_clear_fault(broker, id));
    CHECK(return_code(broker) == 0);
    midge_broker_free(broker);
}

static void connections_are_cut_now_and_later(void)
{
    midge_broker *broker = start_test();
    midge_fault later = fault_of(MIDGE_FAULT_CUT_AFTER_BYTES, MIDGE_PACKET_ANY, NULL);
    const midge_fault instead = fault_of(MIDGE_FAULT_CUT, MIDGE_PACKET_PINGRESP, "b");
    char half[4];
    int fd = client_connect(broker, "a");
    CHECK_STATUS(MIDGE_STATUS_OK, midge_broker_cut(broker, "a"));
    CHECK_STATUS(MIDGE_STATUS_NOT_CONNECTED, midge_broker_cut(broker, "a"));
    CHECK(is_closed_by_peer(fd));

    fd = client_connect(broker, "b");
    inject(broker, &instead);
    send_all(fd, "\xC0\0", 2);
    CHECK_STATUS(MIDGE_STATUS_OK, midge_broker_wait_for_client(broker, "b", 0, PATIENCE * 1000));
    CHECK(is_closed_by_peer(fd));

    fd = client_connect(broker, "c");
    client_subscribe(fd, "t");
    later.bytes = 4;
    inject(broker, &later);
    CHECK_STATUS(MIDGE_STATUS_OK, publish_text(broker, "t", "x"));
    receive(fd, half, sizeof half);
    CHECK(is_closed_by_peer(fd));
    midge_broker_free(broker);
}

static void a_client_that_is_paused_is_read_later(void)
{
    midge_broker *broker = start_test();
    int fd = client_connect(broker, "a");
    CHECK_STATUS(MIDGE_STATUS_OK, midge_broker_pause(broker, "a", 1));
    publish_qos1(fd, "t", 'x', 1);
    CHECK_STATUS(MIDGE_STATUS_OK, midge_broker_advance(broker, 0));
    CHECK_STATUS(MIDGE_STATUS_TIMED_OUT, midge_broker_wait_for(broker, "t", 1, 0, NULL));
    CHECK_STATUS(MIDGE_STATUS_OK, midge_broker_pause(broker, "a", 0));
    CHECK(receives_puback(fd, 1));
    close(fd);
    midge_broker_free(broker);
}

static event seen = EVENT_INIT;

static void *waits_for_all(void *user_data)
{
    midge_broker *broker = (midge_broker *)user_data;
    CHECK_STATUS(MIDGE_STATUS_OK, midge_broker_wait_for_client(broker, "a", 1, -1));
    CHECK_STATUS(MIDGE_STATUS_OK, midge_broker_wait_for_subscription(broker, "t/#", -1));
    CHECK_STATUS(MIDGE_STATUS_OK, midge_broker_wait_for(broker, "t/#", 2, -1, NULL));
    event_add(&seen);
    CHECK_STATUS(MIDGE_STATUS_OK, midge_broker_wait_for_client(broker, "a", 0, -1));
    return NULL;
}

static void a_thread_waits_for_what_comes(void)
{
    midge_broker *broker = start_test();
    pthread_t thread;
    int fd;
    MUST(pthread_create(&thread, NULL, waits_for_all, broker) == 0);
    fd = client_connect(broker, "a");
    client_subscribe(fd, "t/#");
    CHECK_STATUS(MIDGE_STATUS_OK, publish_text(broker, "t/1", "x"));
    CHECK_STATUS(MIDGE_STATUS_OK, publish_text(broker, "t/2", "y"));
    CHECK(event_wait(&seen, 1));
    close(fd);
    MUST(pthread_join(thread, NULL) == 0);
    midge_broker_free(broker);
}

static void *waits_in_vain(void *user_data)
{
    CHECK_STATUS(MIDGE_STATUS_STATE, midge_broker_wait_for_client((midge_broker *)user_data, "nobody", 1, -1));
    return NULL;
}

static void a_stop_ends_the_waiting(void)
{
    midge_broker *broker = start_test();
    midge_batch *batch = NULL;
    pthread_t thread;
    MUST(pthread_create(&thread, NULL, waits_in_vain, broker) == 0);
    CHECK_STATUS(MIDGE_STATUS_OK, publish_text(broker, "t", "x"));
    CHECK_STATUS(MIDGE_STATUS_OK, midge_stop(broker, 0));
    MUST(pthread_join(thread, NULL) == 0);
    CHECK_STATUS(MIDGE_STATUS_STATE, midge_broker_advance(broker, 1));
    CHECK_STATUS(MIDGE_STATUS_STATE, midge_broker_cut(broker, "a"));
    CHECK_STATUS(MIDGE_STATUS_STATE, midge_broker_wait_for(broker, "t", 2, -1, NULL));
    CHECK_STATUS(MIDGE_STATUS_OK, midge_broker_published(broker, "t", &batch, NULL));
    CHECK(midge_batch_count(batch) == 1);
    midge_broker_free(broker);
    CHECK(bytes_are(midge_message_payload(midge_batch_at(batch, 0)), "x"));
    midge_batch_free(batch);
}

static midge_broker *of_callback;
static event called = EVENT_INIT;

static void from_inside(const midge_message *message, void *user_data)
{
    uint64_t hits = 0;
    (void)message;
    (void)user_data;
    CHECK_STATUS(MIDGE_STATUS_IN_CALLBACK, midge_broker_advance(of_callback, 1000));
    CHECK_STATUS(MIDGE_STATUS_IN_CALLBACK, midge_broker_cut(of_callback, "a"));
    CHECK_STATUS(MIDGE_STATUS_IN_CALLBACK, midge_broker_wait_for(of_callback, "t", 1, 0, NULL));
    CHECK_STATUS(MIDGE_STATUS_IN_CALLBACK, midge_broker_wait_for_client(of_callback, "a", 0, 0));
    CHECK_STATUS(MIDGE_STATUS_IN_CALLBACK, midge_broker_wait_for_subscription(of_callback, "t", 0));
    CHECK_STATUS(MIDGE_STATUS_IN_CALLBACK, midge_broker_fault_hits(of_callback, 1, 1, 0, &hits));
    CHECK_STATUS(MIDGE_STATUS_OK, midge_broker_fault_hits(of_callback, 1, 0, 0, &hits));
    CHECK_STATUS(MIDGE_STATUS_OK, midge_broker_clear_fault(of_callback, 0));
    CHECK_STATUS(MIDGE_STATUS_OK, midge_broker_forget_published(of_callback));
    CHECK(midge_broker_time(of_callback) == 0);
    event_add(&called);
}

static void a_callback_is_told_what_it_cannot_wait_for(void)
{
    midge_subscription *subscription = NULL;
    of_callback = start_test();
    MUST(midge_subscribe(of_callback, "t", NULL, from_inside, NULL, NULL, &subscription, NULL) == MIDGE_STATUS_OK);
    CHECK_STATUS(MIDGE_STATUS_OK, publish_text(of_callback, "t", "x"));
    CHECK(event_wait(&called, 1));
    midge_subscription_free(subscription);
    midge_broker_free(of_callback);
}

/* Whether a client that may be there or not was met or missed. */
static int is_done(midge_status status)
{
    return status == MIDGE_STATUS_OK || status == MIDGE_STATUS_NOT_CONNECTED;
}

/* What one of many threads does. */
static void *does_everything(void *user_data)
{
    midge_broker *broker = (midge_broker *)user_data;
    int round;
    for (round = 0; round < 30; round++) {
        midge_fault late = fault_of(MIDGE_FAULT_DELAY, MIDGE_PACKET_ANY, round % 2 ? "a" : NULL);
        midge_batch *batch = NULL;
        uint64_t id, hits = 0;
        late.delay_ms = round;
        id = inject(broker, &late);
        CHECK_STATUS(MIDGE_STATUS_OK, publish_text(broker, "t", "x"));
        CHECK_STATUS(MIDGE_STATUS_OK, midge_broker_advance(broker, round));
        CHECK(is_done(midge_broker_pause(broker, "a", round % 2)) && is_done(midge_broker_cut(broker, "a")));
        CHECK_STATUS(MIDGE_STATUS_OK, midge_broker_published(broker, "t", &batch, NULL));
        CHECK(midge_batch_count(batch) > (size_t)round && midge_batch_count(batch) <= 4 * 30 + 20);
        midge_batch_free(batch);
        CHECK_STATUS(MIDGE_STATUS_OK, midge_broker_fault_hits(broker, id, 0, 0, &hits));
        CHECK_STATUS(MIDGE_STATUS_OK, midge_broker_clear_fault(broker, id));
    }
    return NULL;
}

/* Whether only CONNACK, SUBACK and the message come, in any order, and then the end; the last may be cut short. */
static int receives_answers_until_the_end(int fd)
{
    static const unsigned char answers[3][6] = { { 0x20, 2, 0, 0 }, { 0x90, 3, 0, 1, 0 }, { 0x30, 4, 0, 1, 't', 'x' } };
    struct pollfd ready = { fd, POLLIN, 0 };
    unsigned char packet[6], next;
    size_t len = 0, kind = 0;
    for (;;) {
        if (poll(&ready, 1, PATIENCE * 1000) != 1)
            return 0;
        if (recv(fd, &next, 1, 0) != 1)
            return 1;
        packet[len++] = next;
        if (len == 1)
            for (kind = 0; kind < 3 && answers[kind][0] != next;)
                kind++;
        if (kind == 3 || memcmp(packet, answers[kind], len) != 0)
            return 0;
        if (len > 1 && len == 2 + (size_t)packet[1])
            len = 0;
    }
}

static void threads_use_everything_at_once(void)
{
    midge_broker *broker = start_test();
    midge_batch *batch = NULL;
    pthread_t threads[4];
    int index, fd;
    for (index = 0; index < 4; index++)
        MUST(pthread_create(&threads[index], NULL, does_everything, broker) == 0);
    /* Clients come and are cut: how far they get is all the same, but what they get is what the broker says. */
    for (index = 0; index < 20; index++) {
        static const unsigned char packets[] = { 0x10, 13,   0, 4, 'M', 'Q', 'T', 'T', 4, 2, 0, 0,   0, 1, 'a',
                                                 0x82, 6,    0, 1, 0,   1,   't', 0,   0x30, 4, 0, 1, 't', 'x' };
        fd = client_dial(broker);
        CHECK(send(fd, packets, sizeof packets, MSG_NOSIGNAL) == (ssize_t)sizeof packets);
        shutdown(fd, SHUT_WR);
        CHECK(receives_answers_until_the_end(fd));
        close(fd);
    }
    for (index = 0; index < 4; index++)
        MUST(pthread_join(threads[index], NULL) == 0);
    CHECK(midge_broker_time(broker) == 4 * 30 * 29 / 2);
    CHECK_STATUS(MIDGE_STATUS_OK, midge_broker_published(broker, "t", &batch, NULL));
    CHECK(midge_batch_count(batch) >= 4 * 30);
    midge_batch_free(batch);
    /* Nothing of all that is left: a client is served. */
    CHECK_STATUS(MIDGE_STATUS_OK, midge_broker_clear_fault(broker, 0));
    fd = client_connect(broker, "a");
    ping(fd);
    close(fd);
    midge_broker_free(broker);
}

static midge_broker *start_durable(void)
{
    midge_broker *broker = NULL;
    MUST(midge_start_test_durable(NULL, &broker, NULL) == MIDGE_STATUS_OK);
    return broker;
}

/* Restarts a broker, and frees the one before. */
static midge_broker *restart(midge_broker *broker)
{
    midge_broker *next = NULL;
    midge_error *error = NULL;
    CHECK_STATUS(MIDGE_STATUS_OK, midge_broker_restart(broker, &next, &error));
    CHECK(error == NULL);
    MUST(next != NULL);
    midge_broker_free(broker);
    return next;
}

static midge_status retain(midge_broker *broker, const char *payload, int32_t timeout_ms)
{
    midge_publish_options options = MIDGE_PUBLISH_OPTIONS_INIT;
    options.qos = 1;
    options.retain = 1;
    return midge_publish_acknowledged(broker, "t", payload, strlen(payload), &options, timeout_ms);
}

static uint64_t retained_messages(midge_broker *broker)
{
    midge_stats stats = MIDGE_STATS_INIT;
    CHECK_STATUS(MIDGE_STATUS_OK, midge_broker_stats(broker, &stats));
    return stats.retained_messages;
}

static midge_storage_stats storage_of(midge_broker *broker)
{
    midge_storage_stats stats = MIDGE_STORAGE_STATS_INIT;
    CHECK_STATUS(MIDGE_STATUS_OK, midge_broker_storage(broker, &stats));
    return stats;
}

static void what_was_acknowledged_survives_every_crash(void)
{
    static const int32_t crashes[] = { MIDGE_CRASH_KILL, MIDGE_CRASH_POWER_CUT };
    size_t index;
    for (index = 0; index < 2; index++) {
        midge_broker *broker = start_durable();
        char address[64];
        int fd = client_connect(broker, "a");
        MUST(strlen(midge_broker_address(broker, NULL)) < sizeof address);
        strcpy(address, midge_broker_address(broker, NULL));
        CHECK_STATUS(MIDGE_STATUS_OK, retain(broker, "x", PATIENCE * 1000));
        CHECK_STATUS(MIDGE_STATUS_OK, midge_broker_crash(broker, crashes[index]));
        CHECK(is_closed_by_peer(fd));
        close(fd);
        broker = restart(broker);
        CHECK(strcmp(midge_broker_address(broker, NULL), address) == 0);
        CHECK(retained_messages(broker) == 1);
        fd = client_connect(broker, "a");
        ping(fd);
        close(fd);
        midge_broker_free(broker);
    }
}

static void what_was_not_flushed_survives_a_kill_alone(void)
{
    static const int32_t crashes[] = { MIDGE_CRASH_POWER_CUT, MIDGE_CRASH_KILL };
    size_t index;
    for (index = 0; index < 2; index++) {
        midge_broker *broker = start_durable();
        CHECK_STATUS(MIDGE_STATUS_OK, midge_broker_set_disk(broker, MIDGE_DISK_HELD, 0, NULL));
        CHECK_STATUS(MIDGE_STATUS_TIMED_OUT, retain(broker, "x", 0));
        CHECK_STATUS(MIDGE_STATUS_OK, midge_broker_advance(broker, 0));
        CHECK_STATUS(MIDGE_STATUS_OK, midge_broker_crash(broker, crashes[index]));
        broker = restart(broker);
        CHECK(retained_messages(broker) == index);
        midge_broker_free(broker);
    }
}

static void a_slow_disk_commits_when_the_time_has_passed(void)
{
    midge_broker *broker = start_durable();
    CHECK_STATUS(MIDGE_STATUS_OK, midge_broker_set_disk(broker, MIDGE_DISK_SLOW, 2000, NULL));
    CHECK_STATUS(MIDGE_STATUS_TIMED_OUT, retain(broker, "x", 0));
    CHECK_STATUS(MIDGE_STATUS_OK, midge_broker_advance(broker, 1999));
    CHECK(storage_of(broker).commits == 0);
    CHECK_STATUS(MIDGE_STATUS_OK, midge_broker_advance(broker, 1));
    CHECK(storage_of(broker).commits == 1);
    midge_broker_free(broker);
}

static void a_full_disk_refuses_and_a_broken_one_fails(void)
{
    midge_broker *broker = start_durable();
    CHECK_STATUS(MIDGE_STATUS_OK, midge_broker_set_disk(broker, MIDGE_DISK_FULL, 0, NULL));
    CHECK_STATUS(MIDGE_STATUS_INVALID_ARGUMENT, retain(broker, "x", PATIENCE * 1000));
    CHECK_STATUS(MIDGE_STATUS_OK, midge_broker_set_disk(broker, MIDGE_DISK_WELL, 0, NULL));
    CHECK_STATUS(MIDGE_STATUS_OK, retain(broker, "y", PATIENCE * 1000));
    CHECK_STATUS(MIDGE_STATUS_OK, midge_broker_set_disk(broker, MIDGE_DISK_WRITE_ERROR, 0, NULL));
    CHECK_STATUS(MIDGE_STATUS_IO, retain(broker, "z", PATIENCE * 1000));
    CHECK(storage_of(broker).state == MIDGE_STORAGE_FAILED);
    broker = restart(broker);
    CHECK(storage_of(broker).state == MIDGE_STORAGE_OK);
    CHECK_STATUS(MIDGE_STATUS_OK, midge_broker_set_disk(broker, MIDGE_DISK_FLUSH_ERROR, 0, NULL));
    CHECK_STATUS(MIDGE_STATUS_IO, retain(broker, "z", PATIENCE * 1000));
    midge_broker_free(broker);
}

static void the_calls_of_a_durable_broker_say_what_is_wrong(void)
{
    midge_broker *broker = start_test(), *next = NULL, *other = NULL;
    midge_error *error = NULL;
    CHECK_STATUS(MIDGE_STATUS_INVALID_ARGUMENT, midge_broker_set_disk(broker, MIDGE_DISK_HELD, 0, &error));
    CHECK(error_is(error, MIDGE_STATUS_INVALID_ARGUMENT, "disk: this broker has no directory"));
    error = NULL;
    CHECK_STATUS(MIDGE_STATUS_INVALID_ARGUMENT, midge_broker_crash(broker, 0));
    CHECK_STATUS(MIDGE_STATUS_INVALID_ARGUMENT, midge_broker_crash(broker, 3));
    midge_broker_free(broker);
    broker = start_durable();
    CHECK_STATUS(MIDGE_STATUS_INVALID_ARGUMENT, midge_broker_set_disk(broker, 6, 0, NULL));
    CHECK_STATUS(MIDGE_STATUS_INVALID_ARGUMENT, midge_broker_set_disk(broker, MIDGE_DISK_HELD, 1, NULL));
    CHECK_STATUS(MIDGE_STATUS_INVALID_ARGUMENT, midge_broker_set_disk(broker, MIDGE_DISK_SLOW, -1, NULL));
    CHECK_STATUS(MIDGE_STATUS_OK, midge_broker_crash(broker, MIDGE_CRASH_KILL));
    CHECK_STATUS(MIDGE_STATUS_STATE, midge_broker_crash(broker, MIDGE_CRASH_KILL));
    CHECK_STATUS(MIDGE_STATUS_OK, midge_stop(broker, 0));
    CHECK_STATUS(MIDGE_STATUS_OK, midge_broker_advance(broker, 5000));
    CHECK_STATUS(MIDGE_STATUS_OK, midge_broker_restart(broker, &next, &error));
    CHECK(midge_broker_time(next) == 5000);
    CHECK_STATUS(MIDGE_STATUS_INVALID_ARGUMENT, midge_broker_restart(broker, &other, &error));
    CHECK(error_is(error, MIDGE_STATUS_INVALID_ARGUMENT, "restarted before") && other == NULL);
    CHECK_STATUS(MIDGE_STATUS_STATE, midge_broker_advance(broker, 0));
    midge_broker_free(next);
    midge_broker_free(broker);
}

int main(void)
{
    RUN(a_test_broker_is_at_a_free_port_whatever_else_is_set);
    RUN(an_error_names_the_setting);
    RUN(a_keep_alive_passes_when_the_test_says_so);
    RUN(what_was_published_is_remembered);
    RUN(a_lost_puback_is_asked_for_again);
    RUN(a_late_puback_comes_in_the_broker_s_time);
    RUN(a_doubled_puback_comes_twice);
    RUN(a_fault_meets_packets_of_its_kind_alone);
    RUN(a_fault_meets_its_client_and_spares_the_first);
    RUN(all_faults_are_cleared_at_once);
    RUN(a_connect_is_refused_until_the_fault_is_cleared);
    RUN(connections_are_cut_now_and_later);
    RUN(a_client_that_is_paused_is_read_later);
    RUN(a_thread_waits_for_what_comes);
    RUN(a_stop_ends_the_waiting);
    RUN(a_callback_is_told_what_it_cannot_wait_for);
    RUN(threads_use_everything_at_once);
    RUN(what_was_acknowledged_survives_every_crash);
    RUN(what_was_not_flushed_survives_a_kill_alone);
    RUN(a_slow_disk_commits_when_the_time_has_passed);
    RUN(a_full_disk_refuses_and_a_broken_one_fails);
    RUN(the_calls_of_a_durable_broker_say_what_is_wrong);
    FINISH();
}
