/* What a message carries: properties, retained, expiry, identifiers; clones; forwarding. */
#include "check.h"

static midge_batch *take(midge_queue *queue)
{
    midge_batch *batch = NULL;
    MUST(midge_queue_poll(queue, 1, PATIENCE * 1000, &batch) == MIDGE_STATUS_OK);
    return batch;
}

static midge_subscription *subscribe(midge_queue *queue, const char *filter, const midge_subscribe_options *options)
{
    midge_subscription *subscription = NULL;
    MUST(midge_queue_subscribe(queue, filter, options, 0, &subscription, NULL) == MIDGE_STATUS_OK);
    return subscription;
}

static void check_rich(const midge_message *message)
{
    midge_bytes name = MIDGE_BYTES_INIT, value = MIDGE_BYTES_INIT;
    CHECK(bytes_are(midge_message_topic(message), "caf\xc3\xa9/temp"));
    CHECK(bytes_are(midge_message_payload(message), "21.5"));
    CHECK(midge_message_qos(message) == 1);
    CHECK(midge_message_payload_is_text(message) == 1);
    CHECK(midge_message_expiry_interval(message) == 3600);
    CHECK(bytes_are(midge_message_content_type(message), "text/plain"));
    CHECK(bytes_are(midge_message_response_topic(message), "answers/here"));
    CHECK(midge_message_correlation_data(message).len == 3);
    CHECK(memcmp(midge_message_correlation_data(message).data, "\0\1\2", 3) == 0);
    CHECK(midge_message_user_property_count(message) == 2);
    CHECK_STATUS(MIDGE_STATUS_OK, midge_message_user_property_at(message, 1, &name, &value));
    CHECK(bytes_are(name, "unit") && bytes_are(value, ""));
    CHECK_STATUS(MIDGE_STATUS_OK, midge_message_user_property_at(message, 0, NULL, &value));
    CHECK(bytes_are(value, "celsius"));
    CHECK_STATUS(MIDGE_STATUS_INVALID_ARGUMENT, midge_message_user_property_at(message, 2, &name, &value));
}

static midge_status publish_rich(midge_broker *broker)
{
    static const midge_user_property properties[] = { { "unit", "celsius" }, { "unit", "" } };
    midge_publish_options options = MIDGE_PUBLISH_OPTIONS_INIT;
    options.qos = 1;
    options.message_expiry_interval = 3600;
    options.payload_is_text = 1;
    options.content_type = "text/plain";
    options.response_topic = "answers/here";
    options.correlation_data = "\0\1\2";
    options.correlation_data_len = 3;
    options.user_properties = properties;
    options.user_property_count = 2;
    return midge_publish(broker, "caf\xc3\xa9/temp", "21.5", 4, &options);
}

/* By one walk, as far as there is room. */
static void all_at_once(const midge_message *message)
{
    midge_bytes names[3], values[3];
    uint32_t identifiers[2] = { 0, 0 };
    size_t count = 0;
    CHECK_STATUS(MIDGE_STATUS_OK, midge_message_user_properties(message, 3, names, values, &count));
    CHECK(count == 2 && bytes_are(names[0], "unit") && bytes_are(values[0], "celsius"));
    CHECK(bytes_are(names[1], "unit") && bytes_are(values[1], ""));
    values[1] = names[0];
    CHECK_STATUS(MIDGE_STATUS_OK, midge_message_user_properties(message, 1, NULL, values, &count));
    CHECK(count == 2 && bytes_are(values[0], "celsius") && bytes_are(values[1], "unit"));
    CHECK_STATUS(MIDGE_STATUS_OK, midge_message_subscription_identifiers(message, 2, identifiers, &count));
    CHECK(count == 1 && identifiers[0] == 268435455 && identifiers[1] == 0);
    CHECK_STATUS(MIDGE_STATUS_INVALID_ARGUMENT, midge_message_user_properties(message, 0, NULL, NULL, NULL));
}

static void properties_arrive_and_a_clone_keeps_them(void)
{
    midge_broker *broker = start();
    midge_queue *queue = NULL;
    midge_subscription *subscription;
    midge_subscribe_options options = MIDGE_SUBSCRIBE_OPTIONS_INIT;
    midge_message *clone = NULL, *clone_of_clone = NULL;
    midge_batch *batch;
    options.identifier = 268435455;
    MUST(midge_queue_new(broker, NULL, &queue) == MIDGE_STATUS_OK);
    subscription = subscribe(queue, "#", &options);
    CHECK_STATUS(MIDGE_STATUS_OK, publish_rich(broker));
    batch = take(queue);
    check_rich(midge_batch_at(batch, 0));
    CHECK(midge_message_retained(midge_batch_at(batch, 0)) == 0);
    CHECK(midge_message_subscription_identifier_count(midge_batch_at(batch, 0)) == 1);
    CHECK(midge_message_subscription_identifier_at(midge_batch_at(batch, 0), 0) == 268435455);
    CHECK(midge_message_subscription_identifier_at(midge_batch_at(batch, 0), 1) == 0);
    all_at_once(midge_batch_at(batch, 0));
    CHECK_STATUS(MIDGE_STATUS_OK, midge_message_clone(midge_batch_at(batch, 0), &clone));
    midge_batch_free(batch);
    CHECK_STATUS(MIDGE_STATUS_OK, midge_message_clone(clone, &clone_of_clone));
    midge_message_free(clone);
    midge_subscription_free(subscription);
    midge_queue_free(queue);
    midge_broker_free(broker);
    check_rich(clone_of_clone);
    midge_message_free(clone_of_clone);
}

static void none_at_once(const midge_message *message)
{
    size_t count = 7;
    CHECK_STATUS(MIDGE_STATUS_OK, midge_message_user_properties(message, 0, NULL, NULL, &count));
    CHECK(count == 0);
    count = 7;
    CHECK_STATUS(MIDGE_STATUS_OK, midge_message_subscription_identifiers(message, 0, NULL, &count));
    CHECK(count == 0);
}

static void what_is_absent_is_null(void)
{
    midge_broker *broker = start();
    midge_queue *queue = NULL;
    midge_subscription *subscription;
    midge_publish_options options = MIDGE_PUBLISH_OPTIONS_INIT;
    midge_batch *batch;
    const midge_message *message;
    MUST(midge_queue_new(broker, NULL, &queue) == MIDGE_STATUS_OK);
    subscription = subscribe(queue, "#", NULL);
    CHECK_STATUS(MIDGE_STATUS_OK, midge_publish(broker, "a", NULL, 0, NULL));
    batch = take(queue);
    message = midge_batch_at(batch, 0);
    CHECK(bytes_are(midge_message_payload(message), ""));
    CHECK(midge_message_content_type(message).data == NULL);
    CHECK(midge_message_response_topic(message).data == NULL);
    CHECK(midge_message_correlation_data(message).data == NULL);
    CHECK(midge_message_expiry_interval(message) == -1 && midge_message_payload_is_text(message) == 0);
    CHECK(midge_message_user_property_count(message) == 0);
    CHECK(midge_message_subscription_identifier_count(message) == 0);
    none_at_once(message);
    /* A message that is lent is not freed by mistake. */
    midge_message_free((midge_message *)(size_t)message);
    midge_batch_free(batch);
    options.content_type = "";
    options.correlation_data = "";
    CHECK_STATUS(MIDGE_STATUS_OK, midge_publish(broker, "a", "x", 1, &options));
    batch = take(queue);
    CHECK(bytes_are(midge_message_content_type(midge_batch_at(batch, 0)), ""));
    CHECK(bytes_are(midge_message_correlation_data(midge_batch_at(batch, 0)), ""));
    midge_batch_free(batch);
    /* No time at all is not the same as no end. */
    options.message_expiry_interval = 0;
    CHECK_STATUS(MIDGE_STATUS_OK, midge_publish(broker, "a", "x", 1, &options));
    batch = take(queue);
    CHECK(midge_message_expiry_interval(midge_batch_at(batch, 0)) == 0);
    midge_batch_free(batch);
    midge_subscription_free(subscription);
    midge_queue_free(queue);
    midge_broker_free(broker);
}

static void retained_messages_wait_for_a_subscription(void)
{
    midge_broker *broker = start();
    midge_queue *queue = NULL;
    midge_subscription *subscription;
    midge_publish_options publish = MIDGE_PUBLISH_OPTIONS_INIT;
    midge_subscribe_options options = MIDGE_SUBSCRIBE_OPTIONS_INIT;
    midge_batch *batch;
    publish.retain = 1;
    MUST(midge_queue_new(broker, NULL, &queue) == MIDGE_STATUS_OK);
    CHECK_STATUS(MIDGE_STATUS_OK, midge_publish(broker, "kept", "value", 5, &publish));
    subscription = subscribe(queue, "kept", NULL);
    batch = take(queue);
    CHECK(midge_message_retained(midge_batch_at(batch, 0)) == 1);
    midge_batch_free(batch);
    midge_subscription_free(subscription);
    options.retain_handling = MIDGE_RETAIN_DO_NOT_SEND;
    midge_subscription_free(subscribe(queue, "kept", &options));
    CHECK(midge_queue_len(queue) == 0);
    options.retain_handling = MIDGE_RETAIN_SEND_IF_NEW;
    midge_subscription_free(subscribe(queue, "kept", &options));
    MUST(midge_queue_len(queue) == 1);
    midge_batch_free(take(queue));
    CHECK_STATUS(MIDGE_STATUS_OK, midge_publish(broker, "kept", NULL, 0, &publish));
    midge_subscription_free(subscribe(queue, "kept", NULL));
    CHECK(midge_queue_len(queue) == 0);
    options.retain_handling = MIDGE_RETAIN_SEND;
    options.retain_as_published = 1;
    options.no_local = 1;
    subscription = subscribe(queue, "other", &options);
    CHECK_STATUS(MIDGE_STATUS_OK, midge_publish(broker, "other", "mine", 4, &publish));
    CHECK(midge_queue_len(queue) == 0);
    midge_subscription_free(subscription);
    midge_queue_free(queue);
    midge_broker_free(broker);
}

typedef struct forward {
    midge_broker *to;
    event done;
} forward;

static void pass_on(const midge_message *message, void *user_data)
{
    forward *forward_of = (forward *)user_data;
    CHECK_STATUS(MIDGE_STATUS_OK, midge_publish_message(forward_of->to, message, 1));
    event_add(&forward_of->done);
}

static void a_message_is_forwarded_to_another_broker(void)
{
    midge_broker *from = start(), *to = start();
    midge_subscription *there = NULL, *here;
    midge_queue *queue = NULL;
    midge_batch *batch;
    forward forward_of = { NULL, EVENT_INIT };
    forward_of.to = to;
    MUST(midge_subscribe(from, "#", NULL, pass_on, &forward_of, NULL, &there, NULL) == MIDGE_STATUS_OK);
    CHECK_STATUS(MIDGE_STATUS_OK, publish_rich(from));
    CHECK(event_wait(&forward_of.done, 1));
    MUST(midge_queue_new(to, NULL, &queue) == MIDGE_STATUS_OK);
    here = subscribe(queue, "#", NULL);
    batch = take(queue);
    check_rich(midge_batch_at(batch, 0));
    CHECK(midge_message_retained(midge_batch_at(batch, 0)) == 1);
    midge_batch_free(batch);
    midge_subscription_free(there);
    midge_subscription_free(here);
    midge_queue_free(queue);
    midge_broker_free(from);
    midge_broker_free(to);
}

static void network_clients_get_what_the_host_publishes(void)
{
    static const unsigned char expected[] = { 0x30, 8, 0, 4, 'c', 'h', 'a', 't', 'h', 'i' };
    unsigned char packet[sizeof expected];
    midge_broker *broker = start();
    int fd = client_connect(broker, "client");
    client_subscribe(fd, "chat");
    CHECK_STATUS(MIDGE_STATUS_OK, publish_text(broker, "chat", "hi"));
    receive(fd, packet, sizeof packet);
    CHECK(memcmp(packet, expected, sizeof packet) == 0);
    close(fd);
    midge_broker_free(broker);
}

static void many_messages_are_published_by_one_call(void)
{
    midge_broker *broker = start();
    const char *topics[] = { "a", "b", "a/+", "c" };
    const void *payloads[] = { "x", NULL, "y", "z" };
    const size_t lens[] = { 1, 0, 1, 1 };
    midge_publish_options options = MIDGE_PUBLISH_OPTIONS_INIT;
    midge_queue *queue = NULL;
    midge_subscription *subscription = NULL;
    midge_batch *batch = NULL;
    size_t published = 77;
    options.qos = 1;
    options.content_type = "text/plain";
    MUST(midge_queue_new(broker, NULL, &queue) == MIDGE_STATUS_OK);
    MUST(midge_queue_subscribe(queue, "#", NULL, 0, &subscription, NULL) == MIDGE_STATUS_OK);
    CHECK_STATUS(MIDGE_STATUS_OK, midge_publish_many(broker, NULL, NULL, NULL, 0, &options, &published));
    CHECK(published == 0);
    CHECK_STATUS(MIDGE_STATUS_OK, midge_publish_many(broker, topics, payloads, lens, 2, &options, &published));
    CHECK(published == 2);
    MUST(midge_queue_poll(queue, 10, -1, &batch) == MIDGE_STATUS_OK);
    MUST(midge_batch_count(batch) == 2);
    CHECK(bytes_are(midge_message_topic(midge_batch_at(batch, 0)), "a"));
    CHECK(bytes_are(midge_message_payload(midge_batch_at(batch, 0)), "x"));
    CHECK(bytes_are(midge_message_content_type(midge_batch_at(batch, 1)), "text/plain"));
    CHECK(bytes_are(midge_message_payload(midge_batch_at(batch, 1)), ""));
    CHECK(midge_message_qos(midge_batch_at(batch, 1)) == 1);
    midge_batch_free(batch);
    CHECK_STATUS(MIDGE_STATUS_TOPIC, midge_publish_many(broker, topics, payloads, lens, 4, NULL, &published));
    CHECK(published == 2 && midge_queue_len(queue) == 2);
    CHECK_STATUS(MIDGE_STATUS_OK, midge_stop(broker, 0));
    CHECK_STATUS(MIDGE_STATUS_STATE, midge_publish_many(broker, topics, payloads, lens, 2, NULL, &published));
    CHECK(published == 0);
    midge_subscription_free(subscription);
    midge_queue_free(queue);
    midge_broker_free(broker);
}

static void wrong_messages_are_refused(void)
{
    midge_broker *broker = start();
    midge_publish_options options;
    const midge_publish_options fresh = MIDGE_PUBLISH_OPTIONS_INIT;
    midge_user_property property = { "name", NULL };
    static char large[2 << 20];
#define REFUSED(status)                                                                        \
    do {                                                                                       \
        CHECK_STATUS(status, midge_publish(broker, "a", "b", 1, &options));                    \
        options = fresh;                                                                       \
    } while (0)
    options = fresh;
    CHECK_STATUS(MIDGE_STATUS_TOPIC, publish_text(broker, "a/#", "x"));
    CHECK_STATUS(MIDGE_STATUS_TOPIC, publish_text(broker, "", "x"));
    CHECK_STATUS(MIDGE_STATUS_TOPIC, publish_text(broker, "\xc3", "x"));
    CHECK_STATUS(MIDGE_STATUS_INVALID_ARGUMENT, midge_publish(broker, "a", large, sizeof large, NULL));
    CHECK_STATUS(MIDGE_STATUS_INVALID_ARGUMENT, midge_publish(broker, "a", NULL, 1, NULL));
    CHECK_STATUS(MIDGE_STATUS_INVALID_ARGUMENT, midge_publish(broker, "a", "x", (size_t)-1, NULL));
    options.qos = 3;
    REFUSED(MIDGE_STATUS_INVALID_ARGUMENT);
    options.qos = -1;
    REFUSED(MIDGE_STATUS_INVALID_ARGUMENT);
    options.retain = 2;
    REFUSED(MIDGE_STATUS_INVALID_ARGUMENT);
    options.payload_is_text = -1;
    REFUSED(MIDGE_STATUS_INVALID_ARGUMENT);
    options.reserved = 1;
    REFUSED(MIDGE_STATUS_INVALID_ARGUMENT);
    options.message_expiry_interval = -2;
    REFUSED(MIDGE_STATUS_INVALID_ARGUMENT);
    options.message_expiry_interval = INT64_MAX;
    REFUSED(MIDGE_STATUS_INVALID_ARGUMENT);
    options.response_topic = "a/+";
    REFUSED(MIDGE_STATUS_INVALID_ARGUMENT);
    options.content_type = "\xff";
    REFUSED(MIDGE_STATUS_INVALID_ARGUMENT);
    options.correlation_data_len = 1;
    REFUSED(MIDGE_STATUS_INVALID_ARGUMENT);
    options.correlation_data = large;
    options.correlation_data_len = 65536;
    REFUSED(MIDGE_STATUS_INVALID_ARGUMENT);
    options.user_property_count = 1;
    REFUSED(MIDGE_STATUS_INVALID_ARGUMENT);
    options.user_properties = &property;
    options.user_property_count = 1;
    REFUSED(MIDGE_STATUS_INVALID_ARGUMENT);
    options.user_properties = &property;
    options.user_property_count = (size_t)-1;
    REFUSED(MIDGE_STATUS_INVALID_ARGUMENT);
    REFUSED(MIDGE_STATUS_OK);
    midge_broker_free(broker);
}

static void count_it(midge_status status, void *called)
{
    CHECK_STATUS(MIDGE_STATUS_OK, status);
    ++*(unsigned *)called;
}

/* What `receivers` says, by each way to publish. */
static void the_number_of_receivers_is_told(void)
{
    midge_broker *broker = start();
    midge_queue *queue = NULL;
    midge_subscription *subscriptions[3] = { NULL, NULL, NULL };
    midge_publish_options options = MIDGE_PUBLISH_OPTIONS_INIT;
    const char *topics[3] = { "a/b", "a/c", "x" };
    const void *payloads[3] = { "1", "2", "3" };
    size_t lens[3] = { 1, 1, 1 }, receivers = 99, i;
    unsigned called = 0;

    CHECK_STATUS(MIDGE_STATUS_OK, midge_queue_new(broker, NULL, &queue));
    CHECK_STATUS(MIDGE_STATUS_OK, midge_queue_subscribe(queue, "a/+", NULL, 1, &subscriptions[0], NULL));
    CHECK_STATUS(MIDGE_STATUS_OK, midge_queue_subscribe(queue, "a/b", NULL, 2, &subscriptions[1], NULL));
    CHECK_STATUS(MIDGE_STATUS_OK, midge_queue_subscribe(queue, "#", NULL, 3, &subscriptions[2], NULL));
    options.receivers = &receivers;
    CHECK_STATUS(MIDGE_STATUS_OK, midge_publish(broker, "a/b", "1", 1, &options));
    CHECK(receivers == 3);
    CHECK_STATUS(MIDGE_STATUS_OK, midge_publish(broker, "x", "1", 1, &options));
    CHECK(receivers == 1);
    CHECK_STATUS(MIDGE_STATUS_OK, midge_publish_many(broker, topics, payloads, lens, 3, &options, NULL));
    CHECK(receivers == 3 + 2 + 1);
    CHECK_STATUS(MIDGE_STATUS_OK, midge_publish_owned(broker, "a/c", "1", 1, NULL, NULL, &options));
    CHECK(receivers == 2);
    receivers = 99;
    CHECK(midge_publish_counted(broker, "a/b", "1", 1, &options) == 3 && receivers == 3);
    CHECK(midge_publish_counted(broker, "x", "1", 1, NULL) == 1);
    options.qos = 1;
    CHECK_STATUS(MIDGE_STATUS_OK, midge_publish_acknowledged(broker, "a/b", "1", 1, &options, -1));
    CHECK(receivers == 3);
    CHECK_STATUS(MIDGE_STATUS_OK,
                 midge_publish_with_callback(broker, "a/c", "1", 1, &options, count_it, &called, NULL));
    CHECK(receivers == 2 && called == 1);

    /* It is written on success only. */
    receivers = 99;
    CHECK_STATUS(MIDGE_STATUS_TOPIC, midge_publish(broker, "a/+", "1", 1, &options));
    CHECK(midge_publish_counted(broker, "a/+", "1", 1, &options) == MIDGE_STATUS_TOPIC);
    CHECK(midge_publish_counted(NULL, "a", "1", 1, NULL) == MIDGE_STATUS_INVALID_ARGUMENT);
    topics[2] = "+";
    CHECK_STATUS(MIDGE_STATUS_TOPIC, midge_publish_many(broker, topics, payloads, lens, 3, &options, NULL));
    CHECK(receivers == 99);
    /* Nor where an older header ends before it. */
    options.struct_size = offsetof(midge_publish_options, receivers);
    CHECK_STATUS(MIDGE_STATUS_OK, midge_publish(broker, "a/b", "1", 1, &options));
    CHECK(receivers == 99);
    for (i = 0; i < 3; i++)
        midge_subscription_free(subscriptions[i]);
    midge_queue_free(queue);
    midge_broker_free(broker);
}

/* The sentence that a call has given, which is freed. */
static int says(midge_error **error, midge_status status, const char *sentence)
{
    int good = *error != NULL && midge_error_code(*error) == status
        && strcmp(midge_error_message(*error), sentence) == 0;
    if (!good)
        fprintf(stderr, "not \"%s\" but \"%s\"\n", sentence, *error ? midge_error_message(*error) : "nothing");
    midge_error_free(*error);
    *error = NULL;
    return good;
}

static void what_is_wrong_with_a_message_is_said(void)
{
    midge_broker *broker = start();
    midge_error *error = NULL;
    midge_publish_options options = MIDGE_PUBLISH_OPTIONS_INIT;
    const char *topics[2] = { "a", "$SYS/x" };
    const void *payloads[2] = { "1", "2" };
    size_t lens[2] = { 1, 1 };
    unsigned called = 0;

    options.error = &error;
    CHECK_STATUS(MIDGE_STATUS_OK, midge_publish(broker, "a", "1", 1, &options));
    CHECK(error == NULL);
    midge_publish(broker, "a/+", "1", 1, &options);
    CHECK(says(&error, MIDGE_STATUS_TOPIC, "topic \"a/+\": the topic name holds a wildcard, + or #"));
    midge_publish(broker, "", "1", 1, &options);
    CHECK(says(&error, MIDGE_STATUS_TOPIC, "topic \"\": the topic is empty"));
    midge_publish(broker, "\xff", "1", 1, &options);
    CHECK(says(&error, MIDGE_STATUS_TOPIC, "topic: is not UTF-8"));
    midge_publish(broker, NULL, "1", 1, &options);
    CHECK(says(&error, MIDGE_STATUS_INVALID_ARGUMENT, "topic: is NULL"));
    midge_publish(broker, "a", NULL, 1, &options);
    CHECK(says(&error, MIDGE_STATUS_INVALID_ARGUMENT, "payload: is NULL, but its length is not 0"));
    CHECK(midge_publish_counted(broker, "$SYS/x", "1", 1, &options) == MIDGE_STATUS_INVALID_ARGUMENT);
    CHECK(says(&error, MIDGE_STATUS_INVALID_ARGUMENT,
               "topic: \"$SYS/x\" is below $SYS, where only the broker publishes"));
    midge_publish_many(broker, topics, payloads, lens, 2, &options, NULL);
    CHECK(says(&error, MIDGE_STATUS_INVALID_ARGUMENT,
               "topic: \"$SYS/x\" is below $SYS, where only the broker publishes"));
    midge_publish_owned(broker, "#", "1", 1, NULL, NULL, &options);
    CHECK(says(&error, MIDGE_STATUS_TOPIC, "topic \"#\": the topic name holds a wildcard, + or #"));
    midge_publish_acknowledged(broker, "#", "1", 1, &options, -1);
    CHECK(says(&error, MIDGE_STATUS_TOPIC, "topic \"#\": the topic name holds a wildcard, + or #"));
    midge_publish_with_callback(broker, "#", "1", 1, &options, count_it, &called, NULL);
    CHECK(says(&error, MIDGE_STATUS_TOPIC, "topic \"#\": the topic name holds a wildcard, + or #"));
    CHECK(called == 0);
    options.qos = 3;
    midge_publish(broker, "a", "1", 1, &options);
    CHECK(says(&error, MIDGE_STATUS_INVALID_ARGUMENT, "qos: 3 is not 0, 1 or 2"));
    options.qos = 0;
    options.content_type = "\xff";
    midge_publish(broker, "a", "1", 1, &options);
    CHECK(says(&error, MIDGE_STATUS_INVALID_ARGUMENT, "content_type: is not UTF-8"));
    options.content_type = NULL;
    options.response_topic = "+";
    midge_publish(broker, "a", "1", 1, &options);
    CHECK(says(&error, MIDGE_STATUS_INVALID_ARGUMENT, "response_topic: the topic name holds a wildcard, + or #"));
    options.response_topic = NULL;
    midge_publish(NULL, "a", "1", 1, &options);
    CHECK(says(&error, MIDGE_STATUS_INVALID_ARGUMENT, "broker: is NULL"));
    CHECK_STATUS(MIDGE_STATUS_OK, midge_stop(broker, 0));
    midge_publish(broker, "a", "1", 1, &options);
    CHECK(says(&error, MIDGE_STATUS_STATE, "the broker has stopped"));
    /* A header that ends before it, and a struct that was not initialised, have no place for it. */
    options.struct_size = offsetof(midge_publish_options, error);
    CHECK_STATUS(MIDGE_STATUS_STATE, midge_publish(broker, "a", "1", 1, &options));
    options.struct_size = 7;
    CHECK_STATUS(MIDGE_STATUS_INVALID_ARGUMENT, midge_publish(broker, "a", "1", 1, &options));
    CHECK(error == NULL);
    midge_broker_free(broker);
}

static void what_is_wrong_with_a_topic_or_a_filter_is_said_beforehand(void)
{
    midge_error *error = NULL;

    CHECK_STATUS(MIDGE_STATUS_OK, midge_topic_check("a/b", &error));
    CHECK_STATUS(MIDGE_STATUS_OK, midge_filter_check("a/+/#", &error));
    CHECK_STATUS(MIDGE_STATUS_OK, midge_filter_check("$share/g/a", &error));
    CHECK(error == NULL);
    CHECK_STATUS(MIDGE_STATUS_TOPIC, midge_topic_check("a/+", &error));
    CHECK(says(&error, MIDGE_STATUS_TOPIC, "topic \"a/+\": the topic name holds a wildcard, + or #"));
    CHECK_STATUS(MIDGE_STATUS_TOPIC, midge_filter_check("a+", &error));
    CHECK(says(&error, MIDGE_STATUS_TOPIC, "topic filter \"a+\": the wildcard + does not fill a whole level of the topic filter"));
    CHECK_STATUS(MIDGE_STATUS_TOPIC, midge_topic_check("", NULL));
    CHECK_STATUS(MIDGE_STATUS_INVALID_ARGUMENT, midge_topic_check(NULL, &error));
    CHECK(says(&error, MIDGE_STATUS_INVALID_ARGUMENT, "topic: is NULL"));
    CHECK_STATUS(MIDGE_STATUS_INVALID_ARGUMENT, midge_filter_check(NULL, &error));
    CHECK(says(&error, MIDGE_STATUS_INVALID_ARGUMENT, "filter: is NULL"));
}

/* The options as an older header had them, and as a newer one will. */
static void structs_of_other_versions_are_read(void)
{
    midge_broker *broker = start();
    struct {
        midge_publish_options known;
        size_t unknown;
    } newer = { MIDGE_PUBLISH_OPTIONS_INIT, 0 };
    midge_publish_options older = MIDGE_PUBLISH_OPTIONS_INIT;
    newer.known.struct_size = sizeof newer;
    CHECK_STATUS(MIDGE_STATUS_OK, midge_publish(broker, "a", "b", 1, &newer.known));
    newer.unknown = 1;
    CHECK_STATUS(MIDGE_STATUS_INVALID_ARGUMENT, midge_publish(broker, "a", "b", 1, &newer.known));
    older.struct_size = offsetof(midge_publish_options, payload_is_text);
    older.payload_is_text = 99;
    older.content_type = "\xff";
    CHECK_STATUS(MIDGE_STATUS_OK, midge_publish(broker, "a", "b", 1, &older));
    older.struct_size = 0;
    CHECK_STATUS(MIDGE_STATUS_INVALID_ARGUMENT, midge_publish(broker, "a", "b", 1, &older));
    older.struct_size = (size_t)-1;
    CHECK_STATUS(MIDGE_STATUS_INVALID_ARGUMENT, midge_publish(broker, "a", "b", 1, &older));
    midge_broker_free(broker);
}

int main(void)
{
    RUN(properties_arrive_and_a_clone_keeps_them);
    RUN(what_is_absent_is_null);
    RUN(retained_messages_wait_for_a_subscription);
    RUN(a_message_is_forwarded_to_another_broker);
    RUN(network_clients_get_what_the_host_publishes);
    RUN(many_messages_are_published_by_one_call);
    RUN(wrong_messages_are_refused);
    RUN(the_number_of_receivers_is_told);
    RUN(what_is_wrong_with_a_message_is_said);
    RUN(what_is_wrong_with_a_topic_or_a_filter_is_said_beforehand);
    RUN(structs_of_other_versions_are_read);
    FINISH();
}
