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
        /* The right values are right somewhere: the calls are not all refused at the first argument. These brokers have
           no store to copy, no disk and no listener; listeners.c has one. */
        CHECK(done.answers > 0 || strcmp(abused[index].name, "midge_error_code") == 0 ||
              strcmp(abused[index].name, "midge_broker_backup") == 0 ||
              strcmp(abused[index].name, "midge_broker_set_disk") == 0 ||
              strncmp(abused[index].name, "midge_broker_listener_", 22) == 0 ||
              strcmp(abused[index].name, "midge_listeners_failure_at") == 0 ||
              strncmp(abused[index].name, "midge_edit_", 11) == 0);
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

/* ---- hooks ---- */

enum { AUTHENTICATE, AUTHORIZE, ON_PUBLISH, CONNECTED, DISCONNECTED, SUBSCRIBED, UNSUBSCRIBED, DELIVERED, DROPPED, HOOKS };

typedef struct hooked {
    pthread_mutex_t mutex;
    midge_broker *broker;
    /* Whether a storm goes on: it has hooks called itself, which are not to have storms of their own. */
    int busy;
    int done[HOOKS];
    event all;
} hooked;

/* Once in each hook. */
static void storm_in_hook(hooked *state, int hook, midge_edit *edit)
{
    int now;
    size_t index;
    pthread_mutex_lock(&state->mutex);
    now = state->broker != NULL && !state->busy && !state->done[hook];
    if (now)
        state->busy = state->done[hook] = 1;
    pthread_mutex_unlock(&state->mutex);
    if (!now)
        return;
    storm_within(state->broker);
    for (index = 0; edit != NULL && index < ALL_ABUSED; index++) {
        fixture f;
        memset(&f, 0, sizeof f);
        f.edit = edit;
        if (strncmp(abused[index].name, "midge_edit_", 11) == 0)
            CHECK(abuse(&abused[index], &f, 20, 0).answers > 0);
    }
    pthread_mutex_lock(&state->mutex);
    state->busy = 0;
    pthread_mutex_unlock(&state->mutex);
    event_add(&state->all);
}

static int32_t in_authenticate(const midge_connect_request *request, midge_decision *decision, void *user_data)
{
    (void)request;
    (void)decision;
    storm_in_hook((hooked *)user_data, AUTHENTICATE, NULL);
    return MIDGE_ALLOW;
}

static int32_t in_authorize(const midge_access_request *request, midge_decision *decision, void *user_data)
{
    (void)request;
    (void)decision;
    storm_in_hook((hooked *)user_data, AUTHORIZE, NULL);
    return MIDGE_ALLOW;
}

static int32_t in_on_publish(const midge_publish_request *request, midge_edit *edit, void *user_data)
{
    (void)request;
    storm_in_hook((hooked *)user_data, ON_PUBLISH, edit);
    return MIDGE_DENY;
}

static void in_connected(const midge_connection_view *view, void *user_data)
{
    (void)view;
    storm_in_hook((hooked *)user_data, CONNECTED, NULL);
}

static void in_disconnected(const midge_disconnection_view *view, void *user_data)
{
    (void)view;
    storm_in_hook((hooked *)user_data, DISCONNECTED, NULL);
}

static void in_subscribed(const midge_subscription_view *view, void *user_data)
{
    (void)view;
    storm_in_hook((hooked *)user_data, SUBSCRIBED, NULL);
}

static void in_unsubscribed(const midge_subscription_view *view, void *user_data)
{
    (void)view;
    storm_in_hook((hooked *)user_data, UNSUBSCRIBED, NULL);
}

static void in_delivered(const midge_delivery_view *view, void *user_data)
{
    (void)view;
    storm_in_hook((hooked *)user_data, DELIVERED, NULL);
}

static void in_dropped(const midge_delivery_view *view, void *user_data)
{
    (void)view;
    storm_in_hook((hooked *)user_data, DROPPED, NULL);
}

static void in_every_hook(void)
{
    static const unsigned char publish[] = { 0x30, 4, 0, 1, 't', 'x' }, unsubscribe[] = { 0xa2, 5, 0, 2, 0, 1, 't' };
    const event fresh = EVENT_INIT;
    const pthread_mutex_t unlocked = PTHREAD_MUTEX_INITIALIZER;
    hooked state;
    midge_hooks hooks = MIDGE_HOOKS_INIT;
    midge_config *config = config_on_free_port();
    midge_broker *broker;
    unsigned char unsuback[4];
    int index, fd;
    memset(&state, 0, sizeof state);
    state.all = fresh;
    state.mutex = unlocked;
    hooks.user_data = &state;
    hooks.authenticate = in_authenticate;
    hooks.authorize = in_authorize;
    hooks.on_publish = in_on_publish;
    hooks.on_connected = in_connected;
    hooks.on_disconnected = in_disconnected;
    hooks.on_subscribed = in_subscribed;
    hooks.on_unsubscribed = in_unsubscribed;
    hooks.on_delivered = in_delivered;
    hooks.on_dropped = in_dropped;
    MUST(midge_config_set_hooks(config, &hooks) == MIDGE_STATUS_OK);
    broker = start_with(config);
    pthread_mutex_lock(&state.mutex);
    state.broker = broker;
    pthread_mutex_unlock(&state.mutex);
    /* While a storm goes on, other hooks have none: again, until all of them had one. */
    for (index = 0; index < 100 && event_count(&state.all) < HOOKS; index++) {
        fd = client_connect(broker, "hooked");
        client_subscribe(fd, "t");
        CHECK_STATUS(MIDGE_STATUS_OK, publish_text(broker, "t", "delivered"));
        send_all(fd, publish, sizeof publish);
        send_all(fd, unsubscribe, sizeof unsubscribe);
        while (recv(fd, unsuback, 1, 0) == 1 && unsuback[0] != 0xb0)
            ;
        close(fd);
        CHECK_STATUS(MIDGE_STATUS_OK, publish_text(broker, "nobody", "dropped"));
        /* The end of one connection is told before the next begins, or a notice of it is still to come. */
        CHECK(event_wait(&state.all, index < HOOKS ? index + 1 : HOOKS));
    }
    for (index = 0; index < HOOKS; index++)
        CHECK(state.done[index]);
    midge_broker_free(broker);
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
    if (!(WIFEXITED(status) && WEXITSTATUS(status) == 0))
        printf("# the child ended with wait status 0x%x\n", (unsigned)status);
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
    RUN(in_every_hook);
    RUN(in_a_forked_child);
    RUN(handles_are_freed_in_every_order);
    FINISH();
}
