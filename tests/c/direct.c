/* Direct callbacks: they run on the thread that publishes. */
#include "check.h"

typedef struct state {
    midge_broker *broker;
    midge_subscription *own;
    pthread_t thread;
    int calls, depth, freed;
    midge_status stopped, waited;
    char heard[64];
} state;

static void freed(void *user_data)
{
    ((state *)user_data)->freed++;
}

static midge_subscription *subscribe(midge_broker *broker, const char *filter, midge_message_fn callback, state *state_of)
{
    midge_subscribe_options options = MIDGE_SUBSCRIBE_OPTIONS_INIT;
    midge_subscription *subscription = NULL;
    memset(state_of, 0, sizeof *state_of);
    state_of->broker = broker;
    options.direct = 1;
    MUST(midge_subscribe(broker, filter, &options, callback, state_of, freed, &subscription, NULL) == MIDGE_STATUS_OK);
    state_of->own = subscription;
    return subscription;
}

static void hear(const midge_message *message, void *user_data)
{
    state *state_of = (state *)user_data;
    midge_bytes payload = midge_message_payload(message);
    size_t len = strlen(state_of->heard);
    state_of->thread = pthread_self();
    state_of->calls++;
    if (len + payload.len < sizeof state_of->heard) {
        memcpy(state_of->heard + len, payload.data, payload.len);
        state_of->heard[len + payload.len] = '\0';
    }
}

static void it_has_run_on_this_thread_when_the_call_returns(void)
{
    midge_broker *broker = start();
    state state_of;
    midge_publish_options options = MIDGE_PUBLISH_OPTIONS_INIT;
    midge_subscription *subscription;
    options.retain = 1;
    CHECK_STATUS(MIDGE_STATUS_OK, midge_publish(broker, "a/0", "0", 1, &options));
    subscription = subscribe(broker, "a/+", hear, &state_of);
    CHECK(state_of.calls == 1 && pthread_equal(state_of.thread, pthread_self()));
    CHECK_STATUS(MIDGE_STATUS_OK, publish_text(broker, "a/1", "1"));
    CHECK(state_of.calls == 2 && pthread_equal(state_of.thread, pthread_self()));
    CHECK_STATUS(MIDGE_STATUS_OK, publish_text(broker, "a/2", "2"));
    CHECK(strcmp(state_of.heard, "012") == 0 && state_of.freed == 0);
    midge_subscription_free(subscription);
    CHECK(state_of.freed == 1);
    CHECK_STATUS(MIDGE_STATUS_OK, publish_text(broker, "a/3", "3"));
    CHECK(state_of.calls == 3);
    midge_broker_free(broker);
}

/* Says the next number until 9. */
static void count_up(const midge_message *message, void *user_data)
{
    state *state_of = (state *)user_data;
    char next[2] = { 0, 0 };
    CHECK(state_of->depth == 0);
    state_of->depth++;
    hear(message, user_data);
    next[0] = (char)(*(const char *)midge_message_payload(message).data + 1);
    if (next[0] <= '9')
        CHECK_STATUS(MIDGE_STATUS_OK, publish_text(state_of->broker, "count", next));
    state_of->depth--;
}

static void what_it_publishes_to_itself_comes_when_it_has_returned(void)
{
    midge_broker *broker = start();
    state counter, hearer;
    midge_subscription *one = subscribe(broker, "count", count_up, &counter);
    midge_subscription *two = subscribe(broker, "#", hear, &hearer);
    CHECK_STATUS(MIDGE_STATUS_OK, publish_text(broker, "count", "0"));
    CHECK(strcmp(counter.heard, "0123456789") == 0);
    CHECK(hearer.calls == 10);
    midge_subscription_free(one);
    midge_subscription_free(two);
    midge_broker_free(broker);
    CHECK(counter.freed == 1 && hearer.freed == 1);
}

static void end_itself(const midge_message *message, void *user_data)
{
    state *state_of = (state *)user_data;
    (void)message;
    state_of->calls++;
    CHECK_STATUS(MIDGE_STATUS_OK, publish_text(state_of->broker, "a", "unheard"));
    midge_subscription_free(state_of->own);
    CHECK(state_of->freed == 0);
}

static void it_ends_its_own_subscription(void)
{
    midge_broker *broker = start();
    state state_of;
    subscribe(broker, "a", end_itself, &state_of);
    CHECK_STATUS(MIDGE_STATUS_OK, publish_text(broker, "a", "1"));
    CHECK(state_of.calls == 1 && state_of.freed == 1);
    CHECK_STATUS(MIDGE_STATUS_OK, publish_text(broker, "a", "2"));
    CHECK(state_of.calls == 1);
    midge_broker_free(broker);
    CHECK(state_of.freed == 1);
}

static void stop_within(const midge_message *message, void *user_data)
{
    state *state_of = (state *)user_data;
    (void)message;
    state_of->stopped = midge_stop(state_of->broker, 0);
    state_of->waited = midge_broker_wait(state_of->broker, -1);
    CHECK_STATUS(MIDGE_STATUS_OK, midge_broker_request_stop(state_of->broker));
}

static void it_cannot_stop_but_request_it(void)
{
    midge_broker *broker = start();
    state state_of;
    midge_subscription *subscription = subscribe(broker, "a", stop_within, &state_of);
    CHECK_STATUS(MIDGE_STATUS_OK, publish_text(broker, "a", "stop"));
    CHECK_STATUS(MIDGE_STATUS_IN_CALLBACK, state_of.stopped);
    CHECK_STATUS(MIDGE_STATUS_IN_CALLBACK, state_of.waited);
    CHECK_STATUS(MIDGE_STATUS_OK, midge_broker_wait(broker, -1));
    /* Out of the callback this thread is the host's again. */
    CHECK_STATUS(MIDGE_STATUS_OK, midge_stop(broker, 0));
    midge_subscription_free(subscription);
    midge_broker_free(broker);
    CHECK(state_of.freed == 1);
}

static void free_within(const midge_message *message, void *user_data)
{
    state *state_of = (state *)user_data;
    (void)message;
    midge_broker_free(state_of->broker);
    state_of->calls++;
}

static void it_may_free_the_broker(void)
{
    midge_broker *broker = start();
    state state_of;
    midge_subscription *subscription = subscribe(broker, "a", free_within, &state_of);
    midge_queue *queue = NULL;
    midge_batch *batch = NULL;
    MUST(midge_queue_new(broker, NULL, &queue) == MIDGE_STATUS_OK);
    CHECK_STATUS(MIDGE_STATUS_OK, publish_text(broker, "a", "1"));
    CHECK(state_of.calls == 1);
    /* The broker stops in the background. */
    CHECK_STATUS(MIDGE_STATUS_CLOSED, midge_queue_poll(queue, 1, PATIENCE * 1000, &batch));
    midge_subscription_free(subscription);
    midge_queue_free(queue);
    CHECK(state_of.freed == 1);
}

typedef struct counted {
    event called;
    int inside;
} counted;

static void count(const midge_message *message, void *user_data)
{
    counted *counted_of = (counted *)user_data;
    (void)message;
    /* Not atomic: only one call runs at a time, and a sanitizer would tell. */
    CHECK(counted_of->inside++ == 0);
    event_add(&counted_of->called);
    counted_of->inside--;
}

static void *publish_many(void *broker)
{
    int index;
    for (index = 0; index < 500; index++)
        CHECK_STATUS(MIDGE_STATUS_OK, publish_text((midge_broker *)broker, "many", "x"));
    return NULL;
}

static void it_is_called_once_for_each_message_by_one_thread_at_a_time(void)
{
    midge_broker *broker = start();
    midge_subscribe_options options = MIDGE_SUBSCRIBE_OPTIONS_INIT;
    midge_subscription *subscription = NULL;
    pthread_t threads[4];
    counted counted_of = { EVENT_INIT, 0 };
    size_t index;
    options.direct = 1;
    MUST(midge_subscribe(broker, "#", &options, count, &counted_of, NULL, &subscription, NULL) == MIDGE_STATUS_OK);
    for (index = 0; index < 4; index++)
        MUST(pthread_create(&threads[index], NULL, publish_many, broker) == 0);
    for (index = 0; index < 4; index++)
        pthread_join(threads[index], NULL);
    /* The last calls may be on the callback thread, which goes on when a thread has made very many of those of others. */
    CHECK(event_wait(&counted_of.called, 4 * 500));
    midge_subscription_free(subscription);
    midge_broker_free(broker);
}

/* The callback runs on a thread of the broker, too. */
static void it_hears_clients(void)
{
    midge_broker *broker = start();
    midge_subscribe_options options = MIDGE_SUBSCRIBE_OPTIONS_INIT;
    midge_subscription *subscription = NULL;
    counted counted_of = { EVENT_INIT, 0 };
    static const unsigned char publish[] = { 0x30, 6, 0, 3, 'a', '/', 'b', '!' };
    int fd;
    options.direct = 1;
    MUST(midge_subscribe(broker, "a/#", &options, count, &counted_of, NULL, &subscription, NULL) == MIDGE_STATUS_OK);
    fd = client_connect(broker, "client");
    send_all(fd, publish, sizeof publish);
    send_all(fd, publish, sizeof publish);
    CHECK(event_wait(&counted_of.called, 2));
    midge_broker_free(broker);
    midge_subscription_free(subscription);
    CHECK(is_closed_by_peer(fd));
}

int main(void)
{
    RUN(it_has_run_on_this_thread_when_the_call_returns);
    RUN(what_it_publishes_to_itself_comes_when_it_has_returned);
    RUN(it_ends_its_own_subscription);
    RUN(it_cannot_stop_but_request_it);
    RUN(it_may_free_the_broker);
    RUN(it_is_called_once_for_each_message_by_one_thread_at_a_time);
    RUN(it_hears_clients);
    FINISH();
}
