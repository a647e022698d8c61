/* Every function of the header abused (see abuse/storm.h): alone, by many threads at once, after a stop, in callbacks,
 * in a forked child; and handles freed in every order. */
#include "abuse/storm.h"

#include <sys/wait.h>

static void alone(void)
{
    fixture f;
    size_t index;
    fixture_make(&f);
    for (index = 0; index < ALL_ABUSED; index++) {
        int before = check_failures;
        tally done = abuse(&abused[index], &f, abused[index].ends ? 0 : 100, (unsigned)index);
        /* The right values are right somewhere: the calls are not all refused at the first argument. */
        CHECK(done.answers > 0 || strcmp(abused[index].name, "midge_error_code") == 0);
        printf("%s %s: %u calls, %u without an error\n", check_failures == before ? "ok" : "not ok",
               abused[index].name, done.calls, done.answers);
    }
    fixture_free(&f);
}

typedef struct thread {
    pthread_t thread;
    fixture f;
    unsigned seed;
} thread;

static void *storm_on_a_thread(void *argument)
{
    thread *own = (thread *)argument;
    storm(&own->f, 20, own->seed);
    return NULL;
}

static void by_threads_at_once(void)
{
    fixture f;
    thread threads[4];
    unsigned index;
    fixture_make(&f);
    for (index = 0; index < 4; index++) {
        threads[index].f = f;
        threads[index].seed = index * 1000;
        /* One thread at a time may use a configuration. */
        MUST(midge_config_clone(f.config, &threads[index].f.config) == MIDGE_STATUS_OK);
        MUST(pthread_create(&threads[index].thread, NULL, storm_on_a_thread, &threads[index]) == 0);
    }
    for (index = 0; index < 4; index++) {
        pthread_join(threads[index].thread, NULL);
        midge_config_free(threads[index].f.config);
    }
    fixture_free(&f);
}

typedef struct within {
    midge_broker *broker;
    event done;
    event freed;
} within;

/* In a callback of a broker: with that broker, and with handles that are made here. */
static void storm_within(midge_broker *broker)
{
    fixture f;
    midge_broker *own;
    fixture_make(&f);
    own = f.live;
    f.live = broker;
    storm(&f, 0, 0);
    f.live = own;
    storm_of_ends(&f);
    fixture_free(&f);
}

static void storm_in_callback(const midge_message *message, void *user_data)
{
    within *state = (within *)user_data;
    (void)message;
    storm_within(state->broker);
    event_add(&state->done);
}

static void storm_when_freed(void *user_data)
{
    within *state = (within *)user_data;
    storm_within(state->broker);
    event_add(&state->freed);
}

static void within_init(within *state)
{
    const event fresh = EVENT_INIT;
    state->broker = start();
    state->done = fresh;
    state->freed = fresh;
    MUST(midge_broker_request_stop(state->broker) == MIDGE_STATUS_OK);
}

static void in_message_callbacks(int32_t direct)
{
    within state;
    midge_subscription *subscription = NULL;
    midge_subscribe_options options = MIDGE_SUBSCRIBE_OPTIONS_INIT;
    options.direct = direct;
    within_init(&state);
    MUST(midge_subscribe(state.broker, "within", &options, storm_in_callback, &state, storm_when_freed, &subscription,
                         NULL) == MIDGE_STATUS_OK);
    CHECK_STATUS(MIDGE_STATUS_OK, publish_text(state.broker, "within", ""));
    CHECK(event_wait(&state.done, 1));
    midge_subscription_free(subscription);
    CHECK(event_count(&state.freed) == 1);
    midge_broker_free(state.broker);
}

static void in_a_message_callback_and_in_free_user_data(void)
{
    in_message_callbacks(0);
}

static void in_a_direct_callback_and_in_free_user_data(void)
{
    in_message_callbacks(1);
}

static void storm_when_acknowledged(midge_status status, void *user_data)
{
    within *state = (within *)user_data;
    CHECK_STATUS(MIDGE_STATUS_OK, status);
    storm_within(state->broker);
    event_add(&state->done);
}

static void in_an_acknowledgement_and_when_a_payload_is_given_back(void)
{
    within state;
    midge_publish_options options = MIDGE_PUBLISH_OPTIONS_INIT;
    within_init(&state);
    options.qos = 1;
    CHECK_STATUS(MIDGE_STATUS_OK, midge_publish_with_callback(state.broker, "within", "x", 1, &options,
                                                              storm_when_acknowledged, &state, storm_when_freed));
    CHECK(event_wait(&state.done, 1) && event_wait(&state.freed, 1));
    CHECK_STATUS(MIDGE_STATUS_OK, midge_publish_owned(state.broker, "within", large, 100000, storm_when_freed, &state, NULL));
    CHECK(event_wait(&state.freed, 2));
    midge_broker_free(state.broker);
}

static void in_a_forked_child(void)
{
    static fixture f;
    int status = 0;
    pid_t child;
    fixture_make(&f);
    fflush(stdout);
    child = fork();
    if (child == 0) {
        alarm(PATIENCE);
        check_failures = 0;
        f.forked = 1;
        storm(&f, 20, 7);
        fixture_free(&f);
        fflush(stdout);
        /* Not _exit: what the parent's threads held looks lost here, and valgrind would say so. */
        execlp("sh", "sh", "-c", check_failures == 0 ? "exit 0" : "exit 1", (char *)NULL);
        _exit(2);
    }
    MUST(child > 0 && waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    /* The parent goes on. */
    CHECK_STATUS(MIDGE_STATUS_OK, publish_text(f.live, "a", "after"));
    fixture_free(&f);
}

/* ---- every order ---- */

enum { BROKER, QUEUE, OF_QUEUE, OF_CALLBACK, BATCH, MESSAGE, KINDS };

typedef struct handles {
    midge_broker *broker;
    midge_queue *queue;
    midge_subscription *of_queue, *of_callback;
    midge_batch *batch;
    midge_message *message;
} handles;

static void free_one(handles *h, int kind)
{
    switch (kind) {
    case BROKER: midge_broker_free(h->broker); h->broker = NULL; break;
    case QUEUE: midge_queue_free(h->queue); h->queue = NULL; break;
    case OF_QUEUE: midge_subscription_free(h->of_queue); h->of_queue = NULL; break;
    case OF_CALLBACK: midge_subscription_free(h->of_callback); h->of_callback = NULL; break;
    case BATCH: midge_batch_free(h->batch); h->batch = NULL; break;
    default: midge_message_free(h->message); h->message = NULL; break;
    }
}

/* What is left is whole. */
static void use(const handles *h)
{
    midge_batch *more = NULL;
    midge_subscription *subscription = NULL;
    midge_status there = h->broker != NULL ? MIDGE_STATUS_OK : MIDGE_STATUS_STATE;
    if (h->broker != NULL)
        CHECK_STATUS(MIDGE_STATUS_OK, publish_text(h->broker, "t", "more"));
    if (h->queue != NULL) {
        midge_status polled = midge_queue_poll(h->queue, 1, 0, &more);
        CHECK(polled == (more != NULL ? MIDGE_STATUS_OK : h->broker != NULL ? MIDGE_STATUS_TIMED_OUT : MIDGE_STATUS_CLOSED));
        midge_batch_free(more);
        CHECK_STATUS(there, midge_queue_subscribe(h->queue, "u", NULL, 0, &subscription, NULL));
        midge_subscription_free(subscription);
    }
    if (h->batch != NULL)
        CHECK(bytes_are(midge_message_payload(midge_batch_at(h->batch, 0)), "one"));
    if (h->message != NULL)
        CHECK(bytes_are(midge_message_topic(h->message), "t"));
}

static void count_event(void *user_data)
{
    event_add((event *)user_data);
}

static void freed_in(const int *order)
{
    handles h;
    event freed = EVENT_INIT;
    int index;
    memset(&h, 0, sizeof h);
    h.broker = start_with(config_without_port());
    MUST(midge_queue_new(h.broker, NULL, &h.queue) == MIDGE_STATUS_OK);
    MUST(midge_queue_subscribe(h.queue, "t", NULL, 0, &h.of_queue, NULL) == MIDGE_STATUS_OK);
    MUST(midge_subscribe(h.broker, "t", NULL, ignore, &freed, count_event, &h.of_callback, NULL) ==
         MIDGE_STATUS_OK);
    MUST(publish_text(h.broker, "t", "one") == MIDGE_STATUS_OK);
    MUST(midge_queue_poll(h.queue, 1, 0, &h.batch) == MIDGE_STATUS_OK);
    MUST(midge_message_clone(midge_batch_at(h.batch, 0), &h.message) == MIDGE_STATUS_OK);
    for (index = 0; index < KINDS; index++) {
        free_one(&h, order[index]);
        use(&h);
        CHECK(event_count(&freed) == (h.of_callback == NULL));
    }
}

static int permute(int *order, int from)
{
    int index, swapped, count = 0;
    if (from == KINDS) {
        freed_in(order);
        return 1;
    }
    for (index = from; index < KINDS; index++) {
        swapped = order[from], order[from] = order[index], order[index] = swapped;
        count += permute(order, from + 1);
        swapped = order[from], order[from] = order[index], order[index] = swapped;
    }
    return count;
}

static void handles_are_freed_in_every_order(void)
{
    int order[KINDS] = { BROKER, QUEUE, OF_QUEUE, OF_CALLBACK, BATCH, MESSAGE };
    CHECK(permute(order, 0) == 720);
}

int main(void)
{
    RUN(alone);
    RUN(by_threads_at_once);
    RUN(in_a_message_callback_and_in_free_user_data);
    RUN(in_a_direct_callback_and_in_free_user_data);
    RUN(in_an_acknowledgement_and_when_a_payload_is_given_back);
    RUN(in_a_forked_child);
    RUN(handles_are_freed_in_every_order);
    FINISH();
}
