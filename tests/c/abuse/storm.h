/* Every function of the header with good and bad arguments: each argument's bad values one after the other while the
 * others are right, all of them at their worst, and random choices. The calls are written by generate.py; what must
 * hold after any of them is checked there:
 *
 * - a NULL handle is INVALID_ARGUMENT, a text that is not UTF-8 is never taken;
 * - outputs are there if and only if the call succeeded, errors if and only if it failed;
 * - free_user_data has been called exactly once when the call and what it gave are done with;
 * - in a forked child nothing succeeds on a handle of the parent. */
#ifndef STORM_H
#define STORM_H

#include "../check.h"

#include <fcntl.h>

typedef struct fixture {
    midge_broker *live, *test, *stopped;
    midge_queue *queue, *queue_stopped;
    midge_subscription *of_queue, *of_callback;
    midge_batch *batch;
    midge_message *message;
    midge_config *config;
    midge_clients *clients;
    midge_listeners *listeners;
    midge_subscriptions *subscriptions;
    midge_retained *retained;
    midge_queued *queued;
    midge_error *error;
    char *string;
    /* A client's connection, and a descriptor that is no socket. */
    int client, file;
    /* A decision about a client that waits for it. */
    midge_decision *decision;
    int waiting;
    /* While a hook runs that has one. */
    midge_edit *edit;
    /* Whether this is a child process of the one that made all this. */
    int forked;
    /* The call that runs, for reports. */
    const char *function;
} fixture;

struct payload {
    const void *data;
    size_t len;
};

struct abused {
    const char *name;
    int32_t (*call)(fixture *f, const unsigned *at);
    const unsigned *sizes;
    size_t parameters;
    /* Whether a call may end what the fixture has. */
    int ends;
};

#define MOST_PARAMETERS 12

#define CHECK_CALL(condition)                                                                  \
    do {                                                                                       \
        if (!(condition)) {                                                                    \
            size_t check_index_;                                                               \
            printf("# %s, values", f->function);                                               \
            for (check_index_ = 0; check_index_ < 8; check_index_++)                           \
                printf(" %u", at[check_index_]);                                               \
            printf(": not true: %s\n", #condition);                                            \
            check_failures++;                                                                  \
        }                                                                                      \
    } while (0)

/* Longer than any string of MQTT, and a payload that is larger than a packet may be. */
static char long_text[70001];
static char large[2 * 1024 * 1024];
static const char *const good_texts[] = { "a", "b" };
static const char *const bad_texts[] = { NULL, "\xff" };
static const void *const good_payloads[] = { "x", NULL };
static const size_t good_lens[] = { 1, 0 };
static const size_t bad_lens[] = { SIZE_MAX, SIZE_MAX };

HELPER void ignore(const midge_message *message, void *user_data)
{
    (void)message;
    (void)user_data;
}

HELPER void acknowledged(midge_status status, void *user_data)
{
    (void)status;
    (void)user_data;
}

HELPER void log_nothing(const midge_log_view *line, void *user_data)
{
    (void)line;
    (void)user_data;
}

HELPER void count_free(void *user_data)
{
    ++*(int *)user_data;
}

#include "calls.h"

/* Decides later about a client whose identifier is "later". */
typedef struct deferred {
    event asked;
    midge_decision *decision;
} deferred;

HELPER int32_t decide_later(const midge_connect_request *request, midge_decision *decision, void *user_data)
{
    deferred *state = (deferred *)user_data;
    if (!bytes_are(request->client_id, "later"))
        return MIDGE_ALLOW;
    state->decision = decision;
    event_add(&state->asked);
    return MIDGE_DEFER;
}

HELPER midge_broker *start_that_decides(deferred **state)
{
    const event fresh = EVENT_INIT;
    midge_config *config = config_on_free_port();
    midge_hooks hooks = MIDGE_HOOKS_INIT;
    *state = (deferred *)malloc(sizeof **state);
    MUST(*state != NULL);
    (*state)->asked = fresh;
    (*state)->decision = NULL;
    hooks.user_data = *state;
    hooks.free_user_data = free;
    hooks.authenticate = decide_later;
    MUST(midge_config_set_hooks(config, &hooks) == MIDGE_STATUS_OK);
    return start_with(config);
}

HELPER midge_config *config_without_port(void)
{
    midge_config *config = NULL;
    MUST(midge_config_new(&config) == MIDGE_STATUS_OK);
    MUST(midge_config_set(config, "listener.tcp.bind", "off", NULL) == MIDGE_STATUS_OK);
    return config;
}

HELPER void fixture_make(fixture *f)
{
    midge_publish_options options = MIDGE_PUBLISH_OPTIONS_INIT;
    const midge_user_property property = { "name", "value" };
    deferred *later = NULL;
    memset(f, 0, sizeof *f);
    memset(long_text, 'x', sizeof long_text - 1);
    f->config = config_without_port();
    f->live = start_that_decides(&later);
    MUST(midge_start(f->config, &f->stopped, NULL) == MIDGE_STATUS_OK);
    MUST(midge_start_test(f->config, &f->test, NULL) == MIDGE_STATUS_OK);
    MUST(midge_queue_new(f->live, NULL, &f->queue) == MIDGE_STATUS_OK);
    MUST(midge_queue_new(f->stopped, NULL, &f->queue_stopped) == MIDGE_STATUS_OK);
    MUST(midge_queue_subscribe(f->queue, "a", NULL, 1, &f->of_queue, NULL) == MIDGE_STATUS_OK);
    MUST(midge_subscribe(f->live, "a", NULL, ignore, NULL, NULL, &f->of_callback, NULL) == MIDGE_STATUS_OK);
    options.content_type = "text";
    options.user_properties = &property;
    options.user_property_count = 1;
    MUST(midge_publish(f->live, "a", "x", 1, NULL) == MIDGE_STATUS_OK);
    MUST(midge_publish(f->live, "a", "x", 1, &options) == MIDGE_STATUS_OK);
    MUST(midge_queue_poll(f->queue, 2, -1, &f->batch) == MIDGE_STATUS_OK && midge_batch_count(f->batch) == 2);
    MUST(midge_message_clone(midge_batch_at(f->batch, 1), &f->message) == MIDGE_STATUS_OK);
    options.retain = 1;
    MUST(midge_publish(f->live, "kept", "x", 1, &options) == MIDGE_STATUS_OK);
    MUST(midge_broker_retained(f->live, "kept", &f->retained) == MIDGE_STATUS_OK);
    f->client = client_connect(f->live, "a");
    MUST(midge_broker_queued(f->live, "a", 1, &f->queued) == MIDGE_STATUS_OK);
    f->waiting = client_dial(f->live);
    client_knock(f->waiting, "later");
    MUST(event_wait(&later->asked, 1));
    f->decision = later->decision;
    f->file = open("/dev/null", O_RDONLY);
    MUST(f->file >= 0);
    MUST(midge_broker_clients(f->live, &f->clients) == MIDGE_STATUS_OK);
    MUST(midge_broker_listeners(f->live, &f->listeners) == MIDGE_STATUS_OK);
    MUST(midge_broker_subscriptions(f->live, &f->subscriptions) == MIDGE_STATUS_OK);
    MUST(midge_config_set(f->config, "nonsense", "1", &f->error) != MIDGE_STATUS_OK && f->error != NULL);
    MUST(midge_config_get(f->config, "mqtt.max_qos", &f->string, NULL) == MIDGE_STATUS_OK);
    /* Whoever waits is not to wait for long. */
    MUST(midge_queue_close(f->queue) == MIDGE_STATUS_OK);
    MUST(midge_broker_request_stop(f->live) == MIDGE_STATUS_OK);
    MUST(midge_broker_request_stop(f->test) == MIDGE_STATUS_OK);
    /* In a callback a broker cannot be stopped; there it is one that has not, and the calls are to say so. */
    (void)midge_stop(f->stopped, 0);
}

HELPER void fixture_free(fixture *f)
{
    midge_subscription_free(f->of_callback);
    midge_broker_free(f->live);
    midge_broker_free(f->test);
    midge_broker_free(f->stopped);
    midge_queue_free(f->queue);
    midge_queue_free(f->queue_stopped);
    midge_subscription_free(f->of_queue);
    midge_batch_free(f->batch);
    midge_message_free(f->message);
    midge_config_free(f->config);
    midge_clients_free(f->clients);
    midge_listeners_free(f->listeners);
    midge_subscriptions_free(f->subscriptions);
    midge_error_free(f->error);
    midge_string_free(f->string);
    midge_retained_free(f->retained);
    midge_queued_free(f->queued);
    midge_decision_free(f->decision);
    close(f->waiting);
    close(f->client);
    close(f->file);
    memset(f, 0, sizeof *f);
}

/* What a storm did with a function. */
typedef struct tally {
    unsigned calls, answers;
} tally;

HELPER void call_one(const struct abused *one, fixture *f, const unsigned *at, tally *tally)
{
    f->function = one->name;
    tally->calls++;
    if (one->call(f, at) >= 0)
        tally->answers++;
    if (one->ends && at[0] != 0) {
        /* Only then is there something to make anew. */
        fixture_free(f);
        fixture_make(f);
    }
}

/* Calls a function with its worst values, with each bad value alone, and `draws` times with random ones. */
HELPER tally abuse(const struct abused *one, fixture *f, unsigned draws, unsigned seed)
{
    tally tally = { 0, 0 };
    unsigned at[MOST_PARAMETERS] = { 0 };
    size_t parameter, other;
    MUST(one->parameters <= MOST_PARAMETERS);
    call_one(one, f, at, &tally);
    for (parameter = 0; parameter < one->parameters; parameter++) {
        for (other = 0; other < one->parameters; other++)
            at[other] = one->sizes[other] - 1;
        for (at[parameter] = 0; at[parameter] < one->sizes[parameter]; at[parameter]++)
            call_one(one, f, at, &tally);
    }
    while (draws-- > 0) {
        for (parameter = 0; parameter < one->parameters; parameter++) {
            seed = seed * 1664525u + 1013904223u;
            at[parameter] = (seed >> 8) % one->sizes[parameter];
        }
        call_one(one, f, at, &tally);
    }
    return tally;
}

#define ALL_ABUSED (sizeof abused / sizeof abused[0])

/* Whether a function leaves the fixture whole, and may be called by several threads with the same handles. */
HELPER int is_shared(const struct abused *one)
{
    return !one->ends && strncmp(one->name, "midge_config_", 13) != 0;
}

/* All functions that leave the fixture whole. */
HELPER void storm(fixture *f, unsigned draws, unsigned seed)
{
    size_t index;
    for (index = 0; index < ALL_ABUSED; index++)
        if (is_shared(&abused[index]))
            abuse(&abused[index], f, draws, seed + (unsigned)index);
}

/* The functions that do not. */
HELPER void storm_of_ends(fixture *f)
{
    size_t index;
    for (index = 0; index < ALL_ABUSED; index++)
        if (!is_shared(&abused[index]))
            abuse(&abused[index], f, 0, 0);
}

#endif
