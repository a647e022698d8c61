/* Callback subscriptions: delivery, user data, what a callback may do and what it may not. */
#include "check.h"

typedef struct state {
    event called;
    event freed;
    midge_broker *broker;
    midge_subscription *own;
    midge_message *kept;
    midge_status status;
} state;

static void state_init(state *state, midge_broker *broker)
{
    event fresh = EVENT_INIT;
    memset(state, 0, sizeof *state);
    state->called = fresh;
    state->freed = fresh;
    state->broker = broker;
}

static void freed(void *user_data)
{
    event_add(&((state *)user_data)->freed);
}

static void keep(const midge_message *message, void *user_data)
{
    state *state_of = (state *)user_data;
    if (state_of->kept == NULL)
        CHECK_STATUS(MIDGE_STATUS_OK, midge_message_clone(message, &state_of->kept));
    event_add(&state_of->called);
}

static void messages_reach_the_callback_in_order_and_user_data_is_freed_once(void)
{
    midge_broker *broker = start();
    midge_subscription *subscription = NULL;
    state state_of;
    int index;
    state_init(&state_of, broker);
    MUST(midge_subscribe(broker, "a/+", NULL, keep, &state_of, freed, &subscription, NULL) == MIDGE_STATUS_OK);
    for (index = 0; index < 100; index++)
        CHECK_STATUS(MIDGE_STATUS_OK, publish_text(broker, "a/b", index == 0 ? "first" : "later"));
    CHECK(event_wait(&state_of.called, 100));
    CHECK(event_count(&state_of.freed) == 0);
    midge_subscription_free(subscription);
    CHECK(event_count(&state_of.freed) == 1);
    CHECK_STATUS(MIDGE_STATUS_OK, publish_text(broker, "a/b", "unheard"));
    midge_broker_free(broker);
    CHECK(event_count(&state_of.called) == 100 && event_count(&state_of.freed) == 1);
    CHECK(bytes_are(midge_message_topic(state_of.kept), "a/b"));
    CHECK(bytes_are(midge_message_payload(state_of.kept), "first"));
    midge_message_free(state_of.kept);
}

static void user_data_is_freed_once_when_registering_fails(void)
{
    midge_broker *broker = start();
    midge_subscription *subscription = NULL;
    midge_subscribe_options options = MIDGE_SUBSCRIBE_OPTIONS_INIT;
    midge_error *error = NULL;
    state state_of;
    state_init(&state_of, broker);
    CHECK_STATUS(MIDGE_STATUS_TOPIC, midge_subscribe(broker, "a/#/b", NULL, keep, &state_of, freed, &subscription, &error));
    CHECK(error_is(error, MIDGE_STATUS_TOPIC, "a/#/b"));
    CHECK_STATUS(MIDGE_STATUS_TOPIC, midge_subscribe(broker, "\xff", NULL, keep, &state_of, freed, &subscription, NULL));
    CHECK_STATUS(MIDGE_STATUS_INVALID_ARGUMENT, midge_subscribe(broker, "a", NULL, NULL, &state_of, freed, &subscription, &error));
    CHECK(error_is(error, MIDGE_STATUS_INVALID_ARGUMENT, "callback: is NULL"));
    options.qos = 3;
    CHECK_STATUS(MIDGE_STATUS_INVALID_ARGUMENT, midge_subscribe(broker, "a", &options, keep, &state_of, freed, &subscription, &error));
    CHECK(error_is(error, MIDGE_STATUS_INVALID_ARGUMENT, "qos"));
    CHECK_STATUS(MIDGE_STATUS_INVALID_ARGUMENT, midge_subscribe(NULL, "a", NULL, keep, &state_of, freed, &subscription, NULL));
    CHECK_STATUS(MIDGE_STATUS_INVALID_ARGUMENT, midge_subscribe(broker, "a", NULL, keep, &state_of, freed, NULL, NULL));
    CHECK_STATUS(MIDGE_STATUS_OK, midge_stop(broker, 0));
    CHECK_STATUS(MIDGE_STATUS_STATE, midge_subscribe(broker, "a", NULL, keep, &state_of, freed, &subscription, NULL));
    CHECK(subscription == NULL && event_count(&state_of.freed) == 7 && event_count(&state_of.called) == 0);
    midge_broker_free(broker);
}

static void end_itself(const midge_message *message, void *user_data)
{
    state *state_of = (state *)user_data;
    (void)message;
    midge_subscription_free(state_of->own);
    CHECK(event_count(&state_of->freed) == 0);
    event_add(&state_of->called);
}

static void a_callback_ends_its_own_subscription(void)
{
    midge_broker *broker = start();
    state state_of;
    state_init(&state_of, broker);
    MUST(midge_subscribe(broker, "a", NULL, end_itself, &state_of, freed, &state_of.own, NULL) == MIDGE_STATUS_OK);
    CHECK_STATUS(MIDGE_STATUS_OK, publish_text(broker, "a", "1"));
    CHECK_STATUS(MIDGE_STATUS_OK, publish_text(broker, "a", "2"));
    CHECK(event_wait(&state_of.freed, 1));
    midge_broker_free(broker);
    CHECK(event_count(&state_of.called) == 1 && event_count(&state_of.freed) == 1);
}

static void stop_within(const midge_message *message, void *user_data)
{
    state *state_of = (state *)user_data;
    (void)message;
    state_of->status = midge_stop(state_of->broker, 0);
    CHECK_STATUS(MIDGE_STATUS_IN_CALLBACK, midge_broker_wait(state_of->broker, -1));
    CHECK_STATUS(MIDGE_STATUS_OK, midge_broker_request_stop(state_of->broker));
    event_add(&state_of->called);
}

static void a_callback_cannot_stop_but_request_it(void)
{
    midge_broker *broker = start();
    midge_subscription *subscription = NULL;
    state state_of;
    state_init(&state_of, broker);
    MUST(midge_subscribe(broker, "a", NULL, stop_within, &state_of, freed, &subscription, NULL) == MIDGE_STATUS_OK);
    CHECK_STATUS(MIDGE_STATUS_OK, publish_text(broker, "a", "stop"));
    CHECK_STATUS(MIDGE_STATUS_OK, midge_broker_wait(broker, PATIENCE * 1000));
    CHECK_STATUS(MIDGE_STATUS_OK, midge_stop(broker, -1));
    CHECK_STATUS(MIDGE_STATUS_IN_CALLBACK, state_of.status);
    midge_subscription_free(subscription);
    midge_broker_free(broker);
    CHECK(event_count(&state_of.freed) == 1);
}

static void free_within(const midge_message *message, void *user_data)
{
    state *state_of = (state *)user_data;
    (void)message;
    midge_broker_free(state_of->broker);
    event_add(&state_of->called);
}

static void a_callback_frees_its_broker(void)
{
    midge_broker *broker = start();
    midge_subscription *subscription = NULL;
    state state_of;
    /* Its end tells that the broker has stopped in the background. */
    int fd = client_connect(broker, "client");
    state_init(&state_of, broker);
    MUST(midge_subscribe(broker, "a", NULL, free_within, &state_of, freed, &subscription, NULL) == MIDGE_STATUS_OK);
    CHECK_STATUS(MIDGE_STATUS_OK, publish_text(broker, "a", "free"));
    CHECK(event_wait(&state_of.called, 1));
    CHECK(is_closed_by_peer(fd));
    midge_subscription_free(subscription);
    CHECK(event_count(&state_of.freed) == 1);
}

static void work_within(const midge_message *message, void *user_data)
{
    state *state_of = (state *)user_data;
    midge_subscription *other = NULL;
    midge_queue *queue = NULL;
    midge_batch *batch = NULL;
    (void)message;
    CHECK_STATUS(MIDGE_STATUS_OK, midge_queue_new(state_of->broker, NULL, &queue));
    CHECK_STATUS(MIDGE_STATUS_OK, midge_queue_subscribe(queue, "b", NULL, 0, &other, NULL));
    CHECK_STATUS(MIDGE_STATUS_OK, publish_text(state_of->broker, "b", "from a callback"));
    CHECK_STATUS(MIDGE_STATUS_OK, midge_queue_poll(queue, 1, 0, &batch));
    midge_batch_free(batch);
    midge_subscription_free(other);
    midge_queue_free(queue);
    CHECK_STATUS(MIDGE_STATUS_OK, midge_subscribe(state_of->broker, "c", NULL, keep, state_of, NULL, &other, NULL));
    midge_subscription_free(other);
    event_add(&state_of->called);
}

static void a_callback_publishes_and_subscribes(void)
{
    midge_broker *broker = start();
    midge_subscription *subscription = NULL;
    state state_of;
    state_init(&state_of, broker);
    MUST(midge_subscribe(broker, "a", NULL, work_within, &state_of, NULL, &subscription, NULL) == MIDGE_STATUS_OK);
    CHECK_STATUS(MIDGE_STATUS_OK, publish_text(broker, "a", "work"));
    CHECK(event_wait(&state_of.called, 1));
    midge_subscription_free(subscription);
    midge_broker_free(broker);
}

typedef struct gate {
    event entered;
    event opened;
    event left;
} gate;

static void wait_at_the_gate(const midge_message *message, void *user_data)
{
    gate *gate_of = (gate *)user_data;
    (void)message;
    event_add(&gate_of->entered);
    CHECK(event_wait(&gate_of->opened, 1));
    event_add(&gate_of->left);
}

static void *open_the_gate(void *user_data)
{
    event_add(&((gate *)user_data)->opened);
    return NULL;
}

static void freeing_waits_for_a_call_that_runs(void)
{
    midge_broker *broker = start();
    midge_subscription *subscription = NULL;
    gate gate_of = { EVENT_INIT, EVENT_INIT, EVENT_INIT };
    pthread_t thread;
    MUST(midge_subscribe(broker, "a", NULL, wait_at_the_gate, &gate_of, NULL, &subscription, NULL) == MIDGE_STATUS_OK);
    CHECK_STATUS(MIDGE_STATUS_OK, publish_text(broker, "a", "1"));
    CHECK(event_wait(&gate_of.entered, 1));
    MUST(pthread_create(&thread, NULL, open_the_gate, &gate_of) == 0);
    midge_subscription_free(subscription);
    CHECK(event_count(&gate_of.left) == 1);
    pthread_join(thread, NULL);
    midge_broker_free(broker);
}

static void count(const midge_message *message, void *user_data)
{
    (void)message;
    event_add((event *)user_data);
}

static void what_waits_is_given_to_callbacks_before_a_stop(void)
{
    midge_broker *broker = start();
    midge_subscription *subscription = NULL;
    event counted = EVENT_INIT;
    int index;
    MUST(midge_subscribe(broker, "a", NULL, count, &counted, NULL, &subscription, NULL) == MIDGE_STATUS_OK);
    for (index = 0; index < 1000; index++)
        CHECK_STATUS(MIDGE_STATUS_OK, publish_text(broker, "a", "x"));
    CHECK_STATUS(MIDGE_STATUS_OK, midge_stop(broker, PATIENCE * 1000));
    CHECK(event_count(&counted) == 1000);
    midge_subscription_free(subscription);
    midge_broker_free(broker);
}

int main(void)
{
    RUN(messages_reach_the_callback_in_order_and_user_data_is_freed_once);
    RUN(user_data_is_freed_once_when_registering_fails);
    RUN(a_callback_ends_its_own_subscription);
    RUN(a_callback_cannot_stop_but_request_it);
    RUN(a_callback_frees_its_broker);
    RUN(a_callback_publishes_and_subscribes);
    RUN(freeing_waits_for_a_call_that_runs);
    RUN(what_waits_is_given_to_callbacks_before_a_stop);
    FINISH();
}
