/* Queues, batches, views; many threads that publish. */
#include "check.h"

#include <fcntl.h>

#define THREADS 8
#define EACH 500

static midge_queue *queue_of(midge_broker *broker, size_t capacity, int32_t overflow)
{
    midge_queue_options options = MIDGE_QUEUE_OPTIONS_INIT;
    midge_queue *queue = NULL;
    options.capacity = capacity;
    options.overflow = overflow;
    MUST(midge_queue_new(broker, &options, &queue) == MIDGE_STATUS_OK);
    return queue;
}

static midge_subscription *subscribe(midge_queue *queue, const char *filter, uint64_t tag)
{
    midge_subscription *subscription = NULL;
    MUST(midge_queue_subscribe(queue, filter, NULL, tag, &subscription, NULL) == MIDGE_STATUS_OK);
    return subscription;
}

static void messages_carry_the_tag_of_their_subscription(void)
{
    midge_broker *broker = start();
    midge_queue *queue = queue_of(broker, 0, MIDGE_OVERFLOW_DROP_NEWEST);
    midge_subscription *one = subscribe(queue, "one/#", 1), *two = subscribe(queue, "two", UINT64_MAX);
    midge_batch *batch = NULL;
    midge_message *clone = NULL;
    CHECK_STATUS(MIDGE_STATUS_TIMED_OUT, midge_queue_poll(queue, 10, 0, &batch));
    CHECK_STATUS(MIDGE_STATUS_TIMED_OUT, midge_queue_poll(queue, 10, 5, &batch));
    CHECK(batch == NULL);
    CHECK_STATUS(MIDGE_STATUS_OK, publish_text(broker, "one/a", "A"));
    CHECK_STATUS(MIDGE_STATUS_OK, publish_text(broker, "two", ""));
    CHECK_STATUS(MIDGE_STATUS_OK, publish_text(broker, "three", "C"));
    CHECK(midge_queue_len(queue) == 2);
    CHECK_STATUS(MIDGE_STATUS_OK, midge_queue_poll(queue, 10, -1, &batch));
    CHECK(midge_batch_count(batch) == 2 && midge_batch_at(batch, 2) == NULL);
    CHECK(midge_message_tag(midge_batch_at(batch, 0)) == 1);
    CHECK(midge_message_tag(midge_batch_at(batch, 1)) == UINT64_MAX);
    CHECK(bytes_are(midge_message_payload(midge_batch_at(batch, 1)), ""));
    CHECK(midge_queue_len(queue) == 0 && midge_queue_dropped(queue) == 0);
    CHECK_STATUS(MIDGE_STATUS_OK, midge_message_clone(midge_batch_at(batch, 1), &clone));
    midge_batch_free(batch);
    CHECK(midge_message_tag(clone) == UINT64_MAX);
    midge_message_free(clone);
    midge_subscription_free(one);
    CHECK_STATUS(MIDGE_STATUS_OK, publish_text(broker, "one/a", "unheard"));
    CHECK(midge_queue_len(queue) == 0);
    midge_subscription_free(two);
    midge_queue_free(queue);
    midge_broker_free(broker);
}

static void views_are_the_messages_in_one_array(void)
{
    midge_broker *broker = start();
    midge_queue *queue = queue_of(broker, 0, MIDGE_OVERFLOW_DROP_NEWEST);
    midge_subscription *subscription = subscribe(queue, "#", 5);
    midge_publish_options options = MIDGE_PUBLISH_OPTIONS_INIT;
    midge_batch *batch = NULL;
    size_t stride = 0, count = 0, index;
    const char *rows;
    const midge_message_view *small;
    midge_bytes memory;
    static char large[100000];
    memset(large, 'x', sizeof large);
    options.qos = 1;
    options.message_expiry_interval = 100;
    options.content_type = "text/plain";
    CHECK_STATUS(MIDGE_STATUS_OK, publish_text(broker, "small", "s"));
    CHECK_STATUS(MIDGE_STATUS_OK, midge_publish(broker, "large", large, sizeof large, &options));
    CHECK_STATUS(MIDGE_STATUS_OK, midge_queue_poll(queue, 10, -1, &batch));
    rows = (const char *)midge_batch_views(batch, &stride, &count);
    MUST(rows != NULL && count == 2 && stride >= sizeof(midge_message_view));
    CHECK((const char *)midge_batch_views(batch, NULL, NULL) == rows);
    memory = midge_batch_bytes(batch);
    small = (const midge_message_view *)(const void *)rows;
    CHECK((const char *)small->topic.data >= (const char *)memory.data);
    CHECK((const char *)small->payload.data + small->payload.len <= (const char *)memory.data + memory.len);
    for (index = 0; index < count; index++) {
        const midge_message_view *view = (const midge_message_view *)(const void *)(rows + index * stride);
        const midge_message *message = midge_batch_at(batch, index);
        CHECK(view->struct_size == stride && view->tag == 5 && view->retained == 0);
        CHECK(view->topic.data == midge_message_topic(message).data);
        CHECK(view->payload.data == midge_message_payload(message).data);
        CHECK(view->payload.len == (index == 0 ? 1 : sizeof large));
        CHECK(view->qos == (int32_t)index && view->has_properties == (int32_t)index);
        CHECK(view->message_expiry_interval == (index == 0 ? -1 : 100));
    }
    midge_subscription_free(subscription);
    midge_queue_free(queue);
    midge_broker_free(broker);
    CHECK(memcmp(midge_message_payload(midge_batch_at(batch, 1)).data, large, sizeof large) == 0);
    midge_batch_free(batch);
}

static void a_full_queue_drops_the_newest_or_the_oldest(void)
{
    int32_t overflow;
    for (overflow = MIDGE_OVERFLOW_DROP_NEWEST; overflow <= MIDGE_OVERFLOW_DROP_OLDEST; overflow++) {
        midge_broker *broker = start();
        midge_queue *queue = queue_of(broker, 2, overflow);
        midge_subscription *subscription = subscribe(queue, "#", 0);
        midge_batch *batch = NULL;
        midge_stats stats = MIDGE_STATS_INIT;
        CHECK_STATUS(MIDGE_STATUS_OK, publish_text(broker, "a", "1"));
        CHECK_STATUS(MIDGE_STATUS_OK, publish_text(broker, "a", "2"));
        CHECK_STATUS(MIDGE_STATUS_OK, publish_text(broker, "a", "3"));
        CHECK(midge_queue_len(queue) == 2 && midge_queue_dropped(queue) == 1);
        CHECK_STATUS(MIDGE_STATUS_OK, midge_queue_poll(queue, 1, 0, &batch));
        CHECK(bytes_are(midge_message_payload(midge_batch_at(batch, 0)),
                        overflow == MIDGE_OVERFLOW_DROP_NEWEST ? "1" : "2"));
        midge_batch_free(batch);
        CHECK_STATUS(MIDGE_STATUS_OK, midge_queue_poll(queue, 10, 0, &batch));
        CHECK(midge_batch_count(batch) == 1);
        CHECK(bytes_are(midge_message_payload(midge_batch_at(batch, 0)),
                        overflow == MIDGE_OVERFLOW_DROP_NEWEST ? "2" : "3"));
        CHECK_STATUS(MIDGE_STATUS_OK, midge_broker_stats(broker, &stats));
        if (overflow == MIDGE_OVERFLOW_DROP_NEWEST)
            CHECK(stats.messages_dropped_local_queue_full == 1);
        midge_batch_free(batch);
        midge_subscription_free(subscription);
        midge_queue_free(queue);
        midge_broker_free(broker);
    }
}

static void a_queue_holds_no_more_bytes_than_it_may(void)
{
    static const char payload[600] = "";
    midge_broker *broker = start();
    midge_queue_options options = MIDGE_QUEUE_OPTIONS_INIT;
    midge_queue *queue = NULL;
    midge_subscription *subscription;
    int index;
    options.max_bytes = 1500;
    MUST(midge_queue_new(broker, &options, &queue) == MIDGE_STATUS_OK);
    subscription = subscribe(queue, "a", 0);
    for (index = 0; index < 5; index++)
        CHECK_STATUS(MIDGE_STATUS_OK, midge_publish(broker, "a", payload, sizeof payload, NULL));
    CHECK(midge_queue_len(queue) == 2 && midge_queue_dropped(queue) == 3);
    midge_subscription_free(subscription);
    midge_queue_free(queue);
    midge_broker_free(broker);
}

static void a_view_says_what_was_retained(void)
{
    midge_broker *broker = start();
    midge_queue *queue = queue_of(broker, 0, MIDGE_OVERFLOW_DROP_NEWEST);
    midge_publish_options options = MIDGE_PUBLISH_OPTIONS_INIT;
    midge_subscription *subscription;
    const midge_message_view *view;
    midge_batch *batch = NULL;
    options.retain = 1;
    CHECK_STATUS(MIDGE_STATUS_OK, midge_publish(broker, "a", "kept", 4, &options));
    subscription = subscribe(queue, "a", 3);
    MUST(midge_queue_poll(queue, 10, -1, &batch) == MIDGE_STATUS_OK);
    view = midge_batch_views(batch, NULL, NULL);
    CHECK(view->retained == 1 && view->tag == 3 && view->has_properties == 0 && view->reserved == 0);
    CHECK(bytes_are(view->topic, "a") && bytes_are(view->payload, "kept"));
    midge_batch_free(batch);
    midge_subscription_free(subscription);
    midge_queue_free(queue);
    midge_broker_free(broker);
}

static void a_closed_queue_gives_what_it_has_and_then_says_so(void)
{
    midge_broker *broker = start();
    midge_queue *queue = queue_of(broker, 0, MIDGE_OVERFLOW_DROP_NEWEST);
    midge_subscription *subscription = subscribe(queue, "#", 0);
    midge_batch *batch = NULL;
    CHECK_STATUS(MIDGE_STATUS_OK, publish_text(broker, "a", "1"));
    CHECK_STATUS(MIDGE_STATUS_OK, midge_queue_close(queue));
    CHECK_STATUS(MIDGE_STATUS_OK, midge_queue_close(queue));
    CHECK_STATUS(MIDGE_STATUS_OK, publish_text(broker, "a", "2"));
    CHECK_STATUS(MIDGE_STATUS_OK, midge_queue_poll(queue, 10, -1, &batch));
    CHECK(midge_batch_count(batch) == 1);
    midge_batch_free(batch);
    CHECK_STATUS(MIDGE_STATUS_CLOSED, midge_queue_poll(queue, 10, -1, &batch));
    midge_subscription_free(subscription);
    midge_queue_free(queue);
    midge_broker_free(broker);
}

/* A thread that polls without a bound, once. */
typedef struct poller {
    midge_queue *queue;
    pthread_t thread;
    char task[96];
    event begins, ends;
    midge_status polled;
    size_t count;
} poller;

static void *poll_once(void *argument)
{
    poller *self = (poller *)argument;
    midge_batch *batch = NULL;
    own_task(self->task, sizeof self->task);
    event_add(&self->begins);
    self->polled = midge_queue_poll(self->queue, 1, -1, &batch);
    self->count = midge_batch_count(batch);
    midge_batch_free(batch);
    event_add(&self->ends);
    return NULL;
}

/* Begins to poll an empty queue, and returns when the thread sleeps. */
static void poll_asleep(poller *poller, midge_queue *queue)
{
    const event fresh = EVENT_INIT;
    poller->queue = queue;
    poller->begins = poller->ends = fresh;
    MUST(pthread_create(&poller->thread, NULL, poll_once, poller) == 0);
    MUST(event_wait(&poller->begins, 1));
    wait_until_asleep(poller->task);
}

static void who_polls_is_woken_by_a_message_and_by_the_end(void)
{
    static poller poller;
    midge_broker *broker = start();
    midge_queue *queue = queue_of(broker, 0, MIDGE_OVERFLOW_DROP_NEWEST), *closed, *freed;
    midge_subscription *subscription = subscribe(queue, "a", 0);
    int round;
    for (round = 0; round < 20; round++) {
        poll_asleep(&poller, queue);
        CHECK(event_count(&poller.ends) == 0);
        CHECK_STATUS(MIDGE_STATUS_OK, publish_text(broker, "a", "1"));
        MUST(event_wait(&poller.ends, 1));
        pthread_join(poller.thread, NULL);
        CHECK_STATUS(MIDGE_STATUS_OK, poller.polled);
        CHECK(poller.count == 1 && midge_queue_len(queue) == 0);
    }
    closed = queue_of(broker, 0, MIDGE_OVERFLOW_DROP_NEWEST);
    poll_asleep(&poller, closed);
    CHECK_STATUS(MIDGE_STATUS_OK, midge_queue_close(closed));
    MUST(event_wait(&poller.ends, 1));
    pthread_join(poller.thread, NULL);
    CHECK_STATUS(MIDGE_STATUS_CLOSED, poller.polled);
    midge_queue_free(closed);
    freed = queue_of(broker, 0, MIDGE_OVERFLOW_DROP_NEWEST);
    poll_asleep(&poller, freed);
    midge_queue_free(freed);
    MUST(event_wait(&poller.ends, 1));
    pthread_join(poller.thread, NULL);
    CHECK_STATUS(MIDGE_STATUS_CLOSED, poller.polled);
    poll_asleep(&poller, queue);
    CHECK_STATUS(MIDGE_STATUS_OK, midge_stop(broker, -1));
    MUST(event_wait(&poller.ends, 1));
    pthread_join(poller.thread, NULL);
    CHECK_STATUS(MIDGE_STATUS_CLOSED, poller.polled);
    midge_queue_free(queue);
    CHECK_STATUS(MIDGE_STATUS_STATE, midge_queue_new(broker, NULL, &queue));
    midge_subscription_free(subscription);
    midge_broker_free(broker);
}

static midge_broker *of_all;

static void *publish_many(void *argument)
{
    int index;
    (void)argument;
    for (index = 0; index < EACH; index++)
        CHECK_STATUS(MIDGE_STATUS_OK, publish_text(of_all, "many/threads", "payload"));
    return NULL;
}

static void many_threads_publish_and_nothing_is_lost(void)
{
    midge_queue *queue;
    midge_subscription *subscription;
    pthread_t threads[THREADS];
    size_t taken = 0;
    int index;
    of_all = start();
    queue = queue_of(of_all, 0, MIDGE_OVERFLOW_DROP_NEWEST);
    subscription = subscribe(queue, "many/+", 0);
    for (index = 0; index < THREADS; index++)
        MUST(pthread_create(&threads[index], NULL, publish_many, NULL) == 0);
    while (taken < THREADS * EACH) {
        midge_batch *batch = NULL;
        MUST(midge_queue_poll(queue, 64, PATIENCE * 1000, &batch) == MIDGE_STATUS_OK);
        CHECK(midge_batch_count(batch) >= 1 && midge_batch_count(batch) <= 64);
        taken += midge_batch_count(batch);
        midge_batch_free(batch);
    }
    for (index = 0; index < THREADS; index++)
        pthread_join(threads[index], NULL);
    CHECK(taken == THREADS * EACH && midge_queue_len(queue) == 0 && midge_queue_dropped(queue) == 0);
    midge_subscription_free(subscription);
    midge_queue_free(queue);
    midge_broker_free(of_all);
}

static void the_descriptor_is_readable_while_messages_wait(void)
{
    midge_broker *broker = start();
    midge_queue *queue = queue_of(broker, 2, MIDGE_OVERFLOW_DROP_OLDEST);
    midge_subscription *subscription = subscribe(queue, "#", 0);
    midge_batch *batch = NULL;
    int32_t fd = -1, again = -2;
    CHECK_STATUS(MIDGE_STATUS_OK, publish_text(broker, "a", "before it was asked for"));
    MUST(midge_queue_fd(queue, &fd) == MIDGE_STATUS_OK);
    CHECK_STATUS(MIDGE_STATUS_OK, midge_queue_fd(queue, &again));
    CHECK(fd >= 0 && fd == again && is_readable(fd));
    CHECK_STATUS(MIDGE_STATUS_OK, midge_queue_poll(queue, 10, 0, &batch));
    midge_batch_free(batch);
    CHECK(!is_readable(fd));
    CHECK_STATUS(MIDGE_STATUS_OK, publish_text(broker, "a", "1"));
    CHECK_STATUS(MIDGE_STATUS_OK, publish_text(broker, "a", "2"));
    CHECK_STATUS(MIDGE_STATUS_OK, publish_text(broker, "a", "3"));
    CHECK(is_readable(fd));
    CHECK_STATUS(MIDGE_STATUS_OK, midge_queue_poll(queue, 1, 0, &batch));
    midge_batch_free(batch);
    CHECK(is_readable(fd));
    CHECK_STATUS(MIDGE_STATUS_OK, midge_queue_poll(queue, 1, 0, &batch));
    midge_batch_free(batch);
    CHECK(!is_readable(fd));
    CHECK_STATUS(MIDGE_STATUS_TIMED_OUT, midge_queue_poll(queue, 1, 0, &batch));
    CHECK(!is_readable(fd));
    CHECK_STATUS(MIDGE_STATUS_OK, publish_text(broker, "a", "4"));
    CHECK_STATUS(MIDGE_STATUS_OK, midge_stop(broker, 0));
    CHECK(is_readable(fd));
    CHECK_STATUS(MIDGE_STATUS_OK, midge_queue_poll(queue, 10, 0, &batch));
    midge_batch_free(batch);
    CHECK(is_readable(fd));
    CHECK_STATUS(MIDGE_STATUS_CLOSED, midge_queue_poll(queue, 10, 0, &batch));
    CHECK(is_readable(fd));
    midge_queue_free(queue);
    CHECK(fcntl(fd, F_GETFD) == -1);
    midge_subscription_free(subscription);
    midge_broker_free(broker);
}

static void the_descriptor_of_a_closed_queue_is_readable(void)
{
    midge_broker *broker = start();
    midge_queue *queue = queue_of(broker, 0, MIDGE_OVERFLOW_DROP_NEWEST);
    midge_queue *later;
    int32_t fd = -1;
    MUST(midge_queue_fd(queue, &fd) == MIDGE_STATUS_OK);
    CHECK(!is_readable(fd));
    CHECK_STATUS(MIDGE_STATUS_OK, midge_queue_close(queue));
    CHECK(is_readable(fd));
    later = queue_of(broker, 0, MIDGE_OVERFLOW_DROP_NEWEST);
    CHECK_STATUS(MIDGE_STATUS_OK, midge_stop(broker, 0));
    /* Also if it is asked for afterwards. */
    MUST(midge_queue_fd(later, &fd) == MIDGE_STATUS_OK);
    CHECK(is_readable(fd));
    midge_queue_free(later);
    midge_queue_free(queue);
    midge_broker_free(broker);
}

/* One thread waits for the descriptor and for nothing else, while many publish: it must never wait for ever. */
static void no_message_is_missed_by_who_watches_the_descriptor(void)
{
    midge_queue *queue;
    midge_subscription *subscription;
    pthread_t threads[THREADS];
    struct pollfd watched = { -1, POLLIN, 0 };
    size_t taken = 0;
    int32_t fd;
    int index;
    of_all = start();
    queue = queue_of(of_all, 0, MIDGE_OVERFLOW_DROP_NEWEST);
    subscription = subscribe(queue, "many/+", 0);
    MUST(midge_queue_fd(queue, &fd) == MIDGE_STATUS_OK);
    watched.fd = fd;
    for (index = 0; index < THREADS; index++)
        MUST(pthread_create(&threads[index], NULL, publish_many, NULL) == 0);
    while (taken < THREADS * EACH) {
        midge_batch *batch = NULL;
        midge_status status;
        MUST(poll(&watched, 1, PATIENCE * 1000) == 1);
        status = midge_queue_poll(queue, 3, 0, &batch);
        CHECK(status == MIDGE_STATUS_OK || status == MIDGE_STATUS_TIMED_OUT);
        taken += midge_batch_count(batch);
        midge_batch_free(batch);
    }
    for (index = 0; index < THREADS; index++)
        pthread_join(threads[index], NULL);
    CHECK(taken == THREADS * EACH);
    midge_subscription_free(subscription);
    midge_queue_free(queue);
    midge_broker_free(of_all);
}

typedef struct watcher {
    midge_queue *queue;
    int32_t fd;
    size_t taken;
} watcher;

/* Watches the descriptor and nothing else until the queue is closed. */
static void *watch(void *argument)
{
    watcher *self = (watcher *)argument;
    struct pollfd watched = { -1, POLLIN, 0 };
    midge_status status = MIDGE_STATUS_OK;
    watched.fd = self->fd;
    while (status != MIDGE_STATUS_CLOSED) {
        midge_batch *batch = NULL;
        MUST(poll(&watched, 1, 2 * PATIENCE * 1000) == 1);
        status = midge_queue_poll(self->queue, 3, 0, &batch);
        self->taken += midge_batch_count(batch);
        midge_batch_free(batch);
    }
    return NULL;
}

/* Each message comes when the one before was taken, and nothing comes later that would wake in its place. */
static void each_message_alone_wakes_who_watches_the_descriptor(void)
{
    watcher watcher = { NULL, -1, 0 };
    midge_subscription *subscription;
    pthread_t thread;
    int index;
    of_all = start();
    watcher.queue = queue_of(of_all, 0, MIDGE_OVERFLOW_DROP_NEWEST);
    subscription = subscribe(watcher.queue, "a", 0);
    MUST(midge_queue_fd(watcher.queue, &watcher.fd) == MIDGE_STATUS_OK);
    MUST(pthread_create(&thread, NULL, watch, &watcher) == 0);
    for (index = 0; index < EACH; index++) {
        time_t over = time(NULL) + PATIENCE;
        CHECK_STATUS(MIDGE_STATUS_OK, publish_text(of_all, "a", "x"));
        while (midge_queue_len(watcher.queue) > 0) {
            MUST(time(NULL) < over);
            sched_yield();
        }
    }
    CHECK_STATUS(MIDGE_STATUS_OK, midge_queue_close(watcher.queue));
    pthread_join(thread, NULL);
    CHECK(watcher.taken == EACH);
    midge_subscription_free(subscription);
    midge_queue_free(watcher.queue);
    midge_broker_free(of_all);
}

static event asked = EVENT_INIT;

/* A host's free function may use the queue that has just done with its payload. */
static void free_and_ask(void *queue)
{
    midge_batch *batch = NULL;
    CHECK(midge_queue_len((midge_queue *)queue) <= 2);
    midge_queue_poll((midge_queue *)queue, 1, 0, &batch);
    midge_batch_free(batch);
    event_add(&asked);
}

static void a_free_function_may_use_its_queue(void)
{
    static char large[100000];
    midge_broker *broker = start();
    midge_queue *queue = queue_of(broker, 2, MIDGE_OVERFLOW_DROP_OLDEST);
    midge_subscription *subscription = subscribe(queue, "#", 0);
    midge_batch *batch = NULL;
    int index;
    for (index = 0; index < 10; index++) {
        CHECK_STATUS(MIDGE_STATUS_OK,
                     midge_publish_owned(broker, "t", large, sizeof large, free_and_ask, queue, NULL));
        if (index % 3 == 0 && midge_queue_poll(queue, 10, 0, &batch) == MIDGE_STATUS_OK)
            midge_batch_free(batch);
    }
    /* Polling, too, lets go of what was taken before. */
    CHECK_STATUS(MIDGE_STATUS_OK, publish_text(broker, "t", "last"));
    while (midge_queue_poll(queue, 10, 0, &batch) == MIDGE_STATUS_OK)
        midge_batch_free(batch);
    CHECK_STATUS(MIDGE_STATUS_OK, publish_text(broker, "t", "last"));
    while (midge_queue_poll(queue, 10, 0, &batch) == MIDGE_STATUS_OK)
        midge_batch_free(batch);
    CHECK(event_count(&asked) == 10);
    midge_subscription_free(subscription);
    midge_queue_free(queue);
    midge_broker_free(broker);
    CHECK(event_count(&asked) == 10);
}

int main(void)
{
    RUN(messages_carry_the_tag_of_their_subscription);
    RUN(views_are_the_messages_in_one_array);
    RUN(a_full_queue_drops_the_newest_or_the_oldest);
    RUN(a_queue_holds_no_more_bytes_than_it_may);
    RUN(a_view_says_what_was_retained);
    RUN(a_closed_queue_gives_what_it_has_and_then_says_so);
    RUN(who_polls_is_woken_by_a_message_and_by_the_end);
    RUN(many_threads_publish_and_nothing_is_lost);
    RUN(the_descriptor_is_readable_while_messages_wait);
    RUN(the_descriptor_of_a_closed_queue_is_readable);
    RUN(no_message_is_missed_by_who_watches_the_descriptor);
    RUN(each_message_alone_wakes_who_watches_the_descriptor);
    RUN(a_free_function_may_use_its_queue);
    FINISH();
}
