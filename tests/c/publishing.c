/* Publishing without a copy, and with word of when the message is safe. */
#include "check.h"

#define LARGE 100000

static event freed = EVENT_INIT;

static void free_and_count(void *payload)
{
    free(payload);
    event_add(&freed);
}

static char *payload_of(size_t len)
{
    char *payload = (char *)malloc(len);
    MUST(payload != NULL);
    memset(payload, 'p', len);
    return payload;
}

static midge_status publish_owned(midge_broker *broker, char *payload, size_t len, int retain)
{
    midge_publish_options options = MIDGE_PUBLISH_OPTIONS_INIT;
    options.retain = retain;
    return midge_publish_owned(broker, "owned", payload, len, free_and_count, payload, &options);
}

static void an_owned_payload_is_not_copied_and_freed_when_the_last_has_done_with_it(void)
{
    midge_broker *broker = start();
    midge_queue *queue = NULL;
    midge_subscription *one = NULL, *two = NULL;
    midge_batch *batch = NULL;
    midge_message *kept = NULL;
    char *payload = payload_of(LARGE);
    int before = event_count(&freed);
    MUST(midge_queue_new(broker, NULL, &queue) == MIDGE_STATUS_OK);
    MUST(midge_queue_subscribe(queue, "owned", NULL, 1, &one, NULL) == MIDGE_STATUS_OK);
    MUST(midge_queue_subscribe(queue, "#", NULL, 2, &two, NULL) == MIDGE_STATUS_OK);
    CHECK_STATUS(MIDGE_STATUS_OK, publish_owned(broker, payload, LARGE, 1));
    MUST(midge_queue_poll(queue, 10, -1, &batch) == MIDGE_STATUS_OK);
    MUST(midge_batch_count(batch) == 2);
    CHECK(midge_message_payload(midge_batch_at(batch, 0)).data == payload);
    CHECK(midge_message_payload(midge_batch_at(batch, 1)).data == payload);
    CHECK_STATUS(MIDGE_STATUS_OK, midge_message_clone(midge_batch_at(batch, 0), &kept));
    /* Passed on, it is the same memory, too. */
    CHECK_STATUS(MIDGE_STATUS_OK, midge_publish_message(broker, kept, 1));
    midge_batch_free(batch);
    MUST(midge_queue_poll(queue, 10, -1, &batch) == MIDGE_STATUS_OK);
    CHECK(midge_message_payload(midge_batch_at(batch, 1)).data == payload);
    midge_batch_free(batch);
    CHECK_STATUS(MIDGE_STATUS_TIMED_OUT, midge_queue_poll(queue, 10, 0, &batch));
    midge_queue_free(queue);
    midge_subscription_free(one);
    midge_subscription_free(two);
    CHECK_STATUS(MIDGE_STATUS_OK, midge_publish(broker, "owned", "new", 3, NULL));
    CHECK(event_count(&freed) == before);
    midge_message_free(kept);
    CHECK(event_count(&freed) == before);
    /* It was the retained message, and is no more. */
    CHECK_STATUS(MIDGE_STATUS_OK, publish_owned(broker, NULL, 0, 1));
    CHECK(event_count(&freed) == before + 2);
    CHECK_STATUS(MIDGE_STATUS_OK, publish_owned(broker, payload_of(LARGE), LARGE, 1));
    CHECK(event_count(&freed) == before + 2);
    midge_broker_free(broker);
    CHECK(event_count(&freed) == before + 3);
}

static void a_small_payload_is_freed_at_once(void)
{
    midge_broker *broker = start();
    midge_queue *queue = NULL;
    midge_subscription *subscription = NULL;
    midge_batch *batch = NULL;
    int before = event_count(&freed);
    MUST(midge_queue_new(broker, NULL, &queue) == MIDGE_STATUS_OK);
    MUST(midge_queue_subscribe(queue, "owned", NULL, 0, &subscription, NULL) == MIDGE_STATUS_OK);
    CHECK_STATUS(MIDGE_STATUS_OK, publish_owned(broker, payload_of(64), 64, 0));
    CHECK(event_count(&freed) == before + 1);
    /* One that lives as long as the process is not freed. */
    CHECK_STATUS(MIDGE_STATUS_OK, midge_publish_owned(broker, "owned", "x", 1, NULL, NULL, NULL));
    MUST(midge_queue_poll(queue, 10, -1, &batch) == MIDGE_STATUS_OK);
    CHECK(midge_message_payload(midge_batch_at(batch, 0)).len == 64 && midge_batch_count(batch) == 2);
    midge_batch_free(batch);
    midge_subscription_free(subscription);
    midge_queue_free(queue);
    midge_broker_free(broker);
    CHECK(event_count(&freed) == before + 1);
}

static void a_payload_of_which_nothing_becomes_is_freed(void)
{
    midge_config *config = config_on_free_port();
    midge_broker *broker;
    int before = event_count(&freed);
    MUST(midge_config_set(config, "mqtt.max_packet_size", "64KiB", NULL) == MIDGE_STATUS_OK);
    broker = start_with(config);
    CHECK_STATUS(MIDGE_STATUS_INVALID_ARGUMENT, publish_owned(broker, payload_of(LARGE), LARGE, 0));
    CHECK(event_count(&freed) == before + 1);
    CHECK_STATUS(MIDGE_STATUS_OK, publish_owned(broker, payload_of(20000), 20000, 0));
    CHECK(event_count(&freed) == before + 2);
    CHECK_STATUS(MIDGE_STATUS_OK, midge_stop(broker, 0));
    CHECK_STATUS(MIDGE_STATUS_STATE, publish_owned(broker, payload_of(20000), 20000, 0));
    CHECK(event_count(&freed) == before + 3);
    midge_broker_free(broker);
}

static midge_broker *of_threads;

static void *publish_many(void *argument)
{
    int index;
    (void)argument;
    for (index = 0; index < 200; index++)
        CHECK_STATUS(MIDGE_STATUS_OK, publish_owned(of_threads, payload_of(10000), 10000, index % 2));
    return NULL;
}

/* A client over a socket, a queue that overflows, a retained message that is replaced: many ways to the end. */
static void many_threads_publish_and_each_payload_is_freed_once(void)
{
    midge_queue_options options = MIDGE_QUEUE_OPTIONS_INIT;
    midge_queue *queue = NULL;
    midge_subscription *subscription = NULL;
    pthread_t threads[4];
    size_t index;
    int before = event_count(&freed), fd;
    of_threads = start();
    fd = client_connect(of_threads, "slow");
    client_subscribe(fd, "#");
    options.capacity = 3;
    options.overflow = MIDGE_OVERFLOW_DROP_OLDEST;
    MUST(midge_queue_new(of_threads, &options, &queue) == MIDGE_STATUS_OK);
    MUST(midge_queue_subscribe(queue, "#", NULL, 0, &subscription, NULL) == MIDGE_STATUS_OK);
    for (index = 0; index < 4; index++)
        MUST(pthread_create(&threads[index], NULL, publish_many, NULL) == 0);
    for (index = 0; index < 4; index++)
        pthread_join(threads[index], NULL);
    close(fd);
    midge_broker_free(of_threads);
    midge_queue_free(queue);
    midge_subscription_free(subscription);
    CHECK(event_wait(&freed, before + 4 * 200));
    CHECK(event_count(&freed) == before + 4 * 200);
}

/* ---- acknowledged ---- */

typedef struct told {
    event called, freed;
    midge_status status;
    midge_broker *broker;
} told;

static void told_init(told *told_of, midge_broker *broker)
{
    event fresh = EVENT_INIT;
    memset(told_of, 0, sizeof *told_of);
    told_of->called = fresh;
    told_of->freed = fresh;
    told_of->broker = broker;
}

static void on_told(midge_status status, void *user_data)
{
    told *told_of = (told *)user_data;
    told_of->status = status;
    CHECK(event_count(&told_of->freed) == 0);
    CHECK_STATUS(MIDGE_STATUS_IN_CALLBACK, midge_stop(told_of->broker, 0));
    CHECK_STATUS(MIDGE_STATUS_IN_CALLBACK,
                 midge_publish_acknowledged(told_of->broker, "b", "x", 1, NULL, -1));
    CHECK_STATUS(MIDGE_STATUS_OK, publish_text(told_of->broker, "b", "from the callback"));
    event_add(&told_of->called);
}

static void on_told_freed(void *user_data)
{
    event_add(&((told *)user_data)->freed);
}

static void an_acknowledged_message_is_published_and_safe(void)
{
    midge_broker *broker = start();
    midge_publish_options options = MIDGE_PUBLISH_OPTIONS_INIT;
    midge_stats stats = MIDGE_STATS_INIT;
    told told_of;
    for (options.qos = 0; options.qos < 3; options.qos++) {
        told_init(&told_of, broker);
        CHECK_STATUS(MIDGE_STATUS_OK, midge_publish_acknowledged(broker, "a", "x", 1, &options, -1));
        CHECK_STATUS(MIDGE_STATUS_OK, midge_publish_acknowledged(broker, "a", "x", 1, &options, 0));
        CHECK_STATUS(MIDGE_STATUS_OK,
                     midge_publish_with_callback(broker, "a", "x", 1, &options, on_told, &told_of, on_told_freed));
        CHECK(event_count(&told_of.called) == 1 && told_of.status == MIDGE_STATUS_OK);
        CHECK(event_count(&told_of.freed) == 1);
    }
    CHECK_STATUS(MIDGE_STATUS_OK, midge_broker_stats(broker, &stats));
    CHECK(stats.messages_published == 3 * 4);
    CHECK_STATUS(MIDGE_STATUS_OK, midge_stop(broker, 0));
    CHECK_STATUS(MIDGE_STATUS_STATE, midge_publish_acknowledged(broker, "a", "x", 1, NULL, -1));
    told_init(&told_of, broker);
    CHECK_STATUS(MIDGE_STATUS_STATE,
                 midge_publish_with_callback(broker, "a", "x", 1, NULL, on_told, &told_of, on_told_freed));
    CHECK(event_count(&told_of.called) == 0 && event_count(&told_of.freed) == 1);
    midge_broker_free(broker);
}

/* What the broker says of itself nobody else says. */
static void nobody_but_the_broker_publishes_below_sys(void)
{
    static const char topic[] = "$SYS/broker/mine";
    const char *topics[2] = {"a", topic};
    const void *payloads[2] = {"x", "x"};
    size_t lens[2] = {1, 1}, published = 9;
    midge_publish_options retained = MIDGE_PUBLISH_OPTIONS_INIT;
    midge_stats stats = MIDGE_STATS_INIT;
    midge_broker *broker = start();
    char *payload = payload_of(LARGE);
    int before = event_count(&freed);
    retained.retain = 1;
    CHECK_STATUS(MIDGE_STATUS_INVALID_ARGUMENT, midge_publish(broker, topic, "x", 1, NULL));
    CHECK_STATUS(MIDGE_STATUS_INVALID_ARGUMENT, midge_publish(broker, topic, "x", 1, &retained));
    CHECK_STATUS(MIDGE_STATUS_INVALID_ARGUMENT,
                 midge_publish_owned(broker, topic, payload, LARGE, free_and_count, payload, &retained));
    CHECK(event_count(&freed) == before + 1);
    CHECK_STATUS(MIDGE_STATUS_INVALID_ARGUMENT, midge_publish_acknowledged(broker, topic, "x", 1, NULL, 0));
    CHECK_STATUS(MIDGE_STATUS_INVALID_ARGUMENT,
                 midge_publish_many(broker, topics, payloads, lens, 2, NULL, &published));
    CHECK(published == 1);
    CHECK_STATUS(MIDGE_STATUS_OK, midge_broker_stats(broker, &stats));
    CHECK(stats.messages_published == 1 && stats.retained_messages == 0);
    CHECK_STATUS(MIDGE_STATUS_OK, midge_publish(broker, "$SYS", "x", 1, NULL));
    midge_broker_free(broker);
}

/* The bounds are those of a client's packet: what is exactly at one passes, what is one beyond does not. */
static void a_message_at_a_bound_is_published_and_none_beyond(void)
{
    static const char payload[123] = {0};
    midge_publish_options options = MIDGE_PUBLISH_OPTIONS_INIT;
    midge_config *config = config_on_free_port();
    midge_broker *broker;
    MUST(midge_config_set(config, "mqtt.max_packet_size", "128B", NULL) == MIDGE_STATUS_OK);
    MUST(midge_config_set(config, "mqtt.max_topic_length", "5", NULL) == MIDGE_STATUS_OK);
    MUST(midge_config_set(config, "mqtt.max_topic_levels", "3", NULL) == MIDGE_STATUS_OK);
    broker = start_with(config);
    CHECK_STATUS(MIDGE_STATUS_OK, midge_publish(broker, "abcde", "", 0, NULL));
    CHECK_STATUS(MIDGE_STATUS_INVALID_ARGUMENT, midge_publish(broker, "abcdef", "", 0, NULL));
    CHECK_STATUS(MIDGE_STATUS_OK, midge_publish(broker, "a/b/c", "", 0, NULL));
    CHECK_STATUS(MIDGE_STATUS_INVALID_ARGUMENT, midge_publish(broker, "////", "", 0, NULL));
    /* Fixed header 2, topic 3, property length 1; an identifier of 2 with QoS 1. */
    CHECK_STATUS(MIDGE_STATUS_OK, midge_publish(broker, "t", payload, 122, NULL));
    CHECK_STATUS(MIDGE_STATUS_INVALID_ARGUMENT, midge_publish(broker, "t", payload, 123, NULL));
    options.qos = 1;
    CHECK_STATUS(MIDGE_STATUS_OK, midge_publish(broker, "t", payload, 120, &options));
    CHECK_STATUS(MIDGE_STATUS_INVALID_ARGUMENT, midge_publish(broker, "t", payload, 121, &options));
    midge_broker_free(broker);
}

int main(void)
{
    RUN(an_owned_payload_is_not_copied_and_freed_when_the_last_has_done_with_it);
    RUN(a_small_payload_is_freed_at_once);
    RUN(a_payload_of_which_nothing_becomes_is_freed);
    RUN(many_threads_publish_and_each_payload_is_freed_once);
    RUN(an_acknowledged_message_is_published_and_safe);
    RUN(nobody_but_the_broker_publishes_below_sys);
    RUN(a_message_at_a_bound_is_published_and_none_beyond);
    FINISH();
}
