/* What midge_stop promises: when it returns, all that has happened is told, and no hook or callback runs or will. */
#include "check.h"

#define CLIENTS 50
/* Milliseconds in which a stop that waits for nothing would have returned. */
#define A_WHILE 300

typedef struct host {
    midge_broker *broker;
    event entered, released, ended, gone, stopped;
    /* Whether the call that is held had ended when the stop returned, and how many clients were told of by then. */
    int had_ended, were_gone;
} host;

static void host_init(host *host_of)
{
    event fresh = EVENT_INIT;
    memset(host_of, 0, sizeof *host_of);
    host_of->entered = host_of->released = host_of->ended = host_of->gone = host_of->stopped = fresh;
}

/* Holds the first call until the test lets it go. */
static void hold(host *host_of)
{
    if (event_count(&host_of->entered) == 0) {
        event_add(&host_of->entered);
        CHECK(event_wait(&host_of->released, 1));
        event_add(&host_of->ended);
    }
}

static void on_dropped(const midge_delivery_view *view, void *user_data)
{
    (void)view;
    hold((host *)user_data);
}

static void on_message(const midge_message *message, void *user_data)
{
    (void)message;
    hold((host *)user_data);
}

static void on_disconnected(const midge_disconnection_view *view, void *user_data)
{
    (void)view;
    event_add(&((host *)user_data)->gone);
}

static void *publishes(void *argument)
{
    CHECK_STATUS(MIDGE_STATUS_OK, publish_text(((host *)argument)->broker, "t", "x"));
    return NULL;
}

static void *stops(void *argument)
{
    host *host_of = (host *)argument;
    CHECK_STATUS(MIDGE_STATUS_OK, midge_stop(host_of->broker, 0));
    host_of->had_ended = event_count(&host_of->ended);
    host_of->were_gone = event_count(&host_of->gone);
    event_add(&host_of->stopped);
    return NULL;
}

/* Stops the broker while a thread of the host is in a call of the host's code. */
static void stop_behind_a_call(host *host_of)
{
    pthread_t publisher, stopper;
    MUST(pthread_create(&publisher, NULL, publishes, host_of) == 0);
    MUST(event_wait(&host_of->entered, 1));
    MUST(pthread_create(&stopper, NULL, stops, host_of) == 0);
    /* From its beginning on, publishing says that the broker stops. */
    while (publish_text(host_of->broker, "t", "x") == MIDGE_STATUS_OK)
        sched_yield();
    CHECK_STATUS(MIDGE_STATUS_STATE, publish_text(host_of->broker, "t", "x"));
    poll(NULL, 0, A_WHILE);
    CHECK(event_count(&host_of->stopped) == 0);
    event_add(&host_of->released);
    pthread_join(stopper, NULL);
    pthread_join(publisher, NULL);
    CHECK(host_of->had_ended == 1);
}

static void it_waits_for_a_hook_and_every_disconnection_is_told(void)
{
    midge_config *config = config_on_free_port();
    midge_hooks hooks = MIDGE_HOOKS_INIT;
    host host_of;
    char name[16];
    int clients[CLIENTS], n;
    host_init(&host_of);
    hooks.on_dropped = on_dropped;
    hooks.on_disconnected = on_disconnected;
    hooks.user_data = &host_of;
    MUST(midge_config_set_hooks(config, &hooks) == MIDGE_STATUS_OK);
    host_of.broker = start_with(config);
    for (n = 0; n < CLIENTS; n++) {
        snprintf(name, sizeof name, "c%d", n);
        clients[n] = client_connect(host_of.broker, name);
    }
    stop_behind_a_call(&host_of);
    CHECK(host_of.were_gone == CLIENTS);
    for (n = 0; n < CLIENTS; n++)
        CHECK(is_closed_by_peer(clients[n]));
    midge_broker_free(host_of.broker);
    CHECK(event_count(&host_of.gone) == CLIENTS);
}

static void it_waits_for_a_direct_callback(void)
{
    midge_subscribe_options options = MIDGE_SUBSCRIBE_OPTIONS_INIT;
    midge_subscription *subscription = NULL;
    host host_of;
    host_init(&host_of);
    host_of.broker = start();
    options.direct = 1;
    MUST(midge_subscribe(host_of.broker, "t", &options, on_message, &host_of, NULL, &subscription, NULL) ==
         MIDGE_STATUS_OK);
    stop_behind_a_call(&host_of);
    midge_subscription_free(subscription);
    midge_broker_free(host_of.broker);
}

int main(void)
{
    RUN(it_waits_for_a_hook_and_every_disconnection_is_told);
    RUN(it_waits_for_a_direct_callback);
    FINISH();
}
