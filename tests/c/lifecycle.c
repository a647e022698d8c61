/* Starting, stopping, waiting, freeing in any order, two brokers side by side. */
#include "check.h"

#include <dirent.h>
#include <sched.h>

static int entries(const char *path)
{
    int count = 0;
    DIR *directory = opendir(path);
    if (directory == NULL)
        return 0;
    while (readdir(directory) != NULL)
        count++;
    closedir(directory);
    return count;
}

static void starts_and_stops(void)
{
    midge_broker *broker = start();
    midge_listener_view view = MIDGE_LISTENER_VIEW_INIT;
    const char *address = midge_broker_address(broker, "tcp");
    int fd = client_connect(broker, "client");
    CHECK(address != NULL && strncmp(address, "127.0.0.1:", 10) == 0 && atoi(address + 10) > 0);
    CHECK(midge_broker_address(broker, "lan") == NULL);
    CHECK(midge_broker_listener_count(broker) == 1);
    CHECK_STATUS(MIDGE_STATUS_OK, midge_broker_listener_at(broker, 0, &view));
    CHECK(bytes_are(view.name, "tcp") && bytes_are(view.address, address));
    CHECK_STATUS(MIDGE_STATUS_OK, midge_stop(broker, 1000));
    CHECK(is_closed_by_peer(fd));
    CHECK_STATUS(MIDGE_STATUS_OK, midge_stop(broker, 1000));
    CHECK_STATUS(MIDGE_STATUS_STATE, publish_text(broker, "a", "b"));
    CHECK_STATUS(MIDGE_STATUS_OK, midge_broker_wait(broker, -1));
    midge_broker_free(broker);
}

static void the_defaults_listen_on_the_loopback(void)
{
    midge_broker *broker = NULL;
    midge_error *error = NULL;
    midge_status status = midge_start(NULL, &broker, &error);
    if (status == MIDGE_STATUS_OK)
        CHECK(strcmp(midge_broker_address(broker, NULL), "127.0.0.1:1883") == 0);
    else
        CHECK(error_is(error, MIDGE_STATUS_ADDRESS_IN_USE, "listener.tcp.bind: 127.0.0.1:1883: address in use"));
    midge_broker_free(broker);
}

static void a_broker_is_freed_without_a_stop(void)
{
    midge_broker_free(start());
}

static void nothing_is_left_behind(void)
{
    int round, descriptors = 0, threads = 0;
    time_t until;
    for (round = 0; round < 20; round++) {
        midge_broker *broker = start();
        close(client_connect(broker, "client"));
        midge_broker_free(broker);
        if (round == 0) {
            descriptors = entries("/proc/self/fd");
            threads = entries("/proc/self/task");
        }
    }
    CHECK(entries("/proc/self/fd") == descriptors);
    /* The kernel lists a thread for a moment after it was joined. */
    until = time(NULL) + PATIENCE;
    while (entries("/proc/self/task") != threads && time(NULL) < until)
        sched_yield();
    CHECK(entries("/proc/self/task") == threads);
}

static void an_address_in_use_is_an_error_that_names_it(void)
{
    midge_broker *first = start(), *second = NULL;
    midge_config *config = config_on_free_port();
    midge_error *error = NULL;
    const char *address = midge_broker_address(first, NULL);
    CHECK_STATUS(MIDGE_STATUS_OK, midge_config_set(config, "listener.tcp.bind", address, NULL));
    CHECK_STATUS(MIDGE_STATUS_ADDRESS_IN_USE, midge_start(config, &second, &error));
    CHECK(second == NULL);
    CHECK(error_is(error, MIDGE_STATUS_ADDRESS_IN_USE, address));
    CHECK_STATUS(MIDGE_STATUS_ADDRESS_IN_USE, midge_start(config, &second, NULL));
    midge_config_free(config);
    midge_broker_free(first);
}

static void an_error_leaves_no_broker(void)
{
    midge_config *config = config_on_free_port();
    midge_broker *broker = NULL;
    midge_error *error = NULL;
    CHECK_STATUS(MIDGE_STATUS_OK, midge_config_set(config, "listener.lan.max_connections", "1", NULL));
    CHECK_STATUS(MIDGE_STATUS_CONFIG, midge_start(config, &broker, &error));
    CHECK(broker == NULL && error_is(error, MIDGE_STATUS_CONFIG, "listener.lan.bind"));
    midge_config_free(config);
}

static void *stop(void *broker)
{
    CHECK_STATUS(MIDGE_STATUS_OK, midge_stop((midge_broker *)broker, 0));
    CHECK_STATUS(MIDGE_STATUS_STATE, publish_text((midge_broker *)broker, "a", "b"));
    return NULL;
}

static void threads_stop_it_at_once(void)
{
    midge_broker *broker = start();
    pthread_t threads[4];
    int index;
    for (index = 0; index < 4; index++)
        MUST(pthread_create(&threads[index], NULL, stop, broker) == 0);
    for (index = 0; index < 4; index++)
        pthread_join(threads[index], NULL);
    midge_broker_free(broker);
}

static void *wait_for_ever(void *broker)
{
    CHECK_STATUS(MIDGE_STATUS_OK, midge_broker_wait((midge_broker *)broker, -1));
    return NULL;
}

static void those_who_wait_are_told_of_a_request(void)
{
    midge_broker *broker = start();
    pthread_t threads[3];
    int index;
    CHECK_STATUS(MIDGE_STATUS_TIMED_OUT, midge_broker_wait(broker, 0));
    CHECK_STATUS(MIDGE_STATUS_TIMED_OUT, midge_broker_wait(broker, 5));
    for (index = 0; index < 3; index++)
        MUST(pthread_create(&threads[index], NULL, wait_for_ever, broker) == 0);
    CHECK_STATUS(MIDGE_STATUS_OK, midge_broker_request_stop(broker));
    for (index = 0; index < 3; index++)
        pthread_join(threads[index], NULL);
    CHECK_STATUS(MIDGE_STATUS_OK, midge_broker_wait(broker, 0));
    CHECK_STATUS(MIDGE_STATUS_OK, publish_text(broker, "a", "a request stops nothing"));
    midge_broker_free(broker);
}

static void those_who_wait_are_told_of_a_stop(void)
{
    midge_broker *broker = start();
    pthread_t thread;
    MUST(pthread_create(&thread, NULL, wait_for_ever, broker) == 0);
    CHECK_STATUS(MIDGE_STATUS_OK, midge_stop(broker, 0));
    pthread_join(thread, NULL);
    midge_broker_free(broker);
}

static midge_broker *of_the_handler;

static void handler(int number)
{
    (void)number;
    midge_broker_request_stop(of_the_handler);
}

static void a_signal_handler_requests_a_stop(void)
{
    struct sigaction action, before;
    pthread_t thread;
    of_the_handler = start();
    memset(&action, 0, sizeof action);
    action.sa_handler = handler;
    sigaction(SIGTERM, &action, &before);
    MUST(pthread_create(&thread, NULL, wait_for_ever, of_the_handler) == 0);
    /* To the process: none of Midge's threads takes it. */
    MUST(kill(getpid(), SIGTERM) == 0);
    pthread_join(thread, NULL);
    sigaction(SIGTERM, &before, NULL);
    midge_broker_free(of_the_handler);
}

static void ignore(const midge_message *message, void *user_data)
{
    (void)message;
    (void)user_data;
}

static void handles_are_freed_in_any_order(void)
{
    int order;
    for (order = 0; order < 4; order++) {
        midge_broker *broker = start();
        midge_subscription *of_callback = NULL, *of_queue = NULL, *more = NULL;
        midge_queue *queue = NULL;
        midge_batch *batch = NULL;
        midge_message *message = NULL;
        midge_error *error = NULL;
        MUST(midge_subscribe(broker, "a/#", NULL, ignore, NULL, NULL, &of_callback, NULL) == MIDGE_STATUS_OK);
        MUST(midge_queue_new(broker, NULL, &queue) == MIDGE_STATUS_OK);
        MUST(midge_queue_subscribe(queue, "a/#", NULL, 7, &of_queue, NULL) == MIDGE_STATUS_OK);
        CHECK_STATUS(MIDGE_STATUS_OK, publish_text(broker, "a/1", "one"));
        CHECK_STATUS(MIDGE_STATUS_OK, publish_text(broker, "a/2", "two"));
        MUST(midge_queue_poll(queue, 1, -1, &batch) == MIDGE_STATUS_OK);
        MUST(midge_message_clone(midge_batch_at(batch, 0), &message) == MIDGE_STATUS_OK);
        if (order & 1) {
            midge_broker_free(broker);
            CHECK_STATUS(MIDGE_STATUS_STATE, midge_queue_subscribe(queue, "b", NULL, 0, &more, &error));
            CHECK(error_is(error, MIDGE_STATUS_STATE, "stopped"));
            midge_batch_free(batch);
            CHECK_STATUS(MIDGE_STATUS_OK, midge_queue_poll(queue, 9, -1, &batch));
            CHECK(bytes_are(midge_message_payload(midge_batch_at(batch, 0)), "two"));
        }
        if (order & 2) {
            midge_subscription_free(of_callback);
            midge_subscription_free(of_queue);
            midge_queue_free(queue);
        } else {
            midge_queue_free(queue);
            midge_subscription_free(of_queue);
            midge_subscription_free(of_callback);
        }
        CHECK(midge_batch_count(batch) == 1);
        midge_batch_free(batch);
        CHECK(bytes_are(midge_message_topic(message), "a/1") && bytes_are(midge_message_payload(message), "one"));
        midge_message_free(message);
        if (!(order & 1))
            midge_broker_free(broker);
    }
}

static void two_brokers_share_nothing(void)
{
    midge_broker *first = start(), *second = start();
    midge_queue *queue = NULL;
    midge_subscription *subscription = NULL;
    midge_batch *batch = NULL;
    CHECK(strcmp(midge_broker_address(first, NULL), midge_broker_address(second, NULL)) != 0);
    MUST(midge_queue_new(second, NULL, &queue) == MIDGE_STATUS_OK);
    MUST(midge_queue_subscribe(queue, "#", NULL, 0, &subscription, NULL) == MIDGE_STATUS_OK);
    CHECK_STATUS(MIDGE_STATUS_OK, publish_text(first, "a", "to the first"));
    CHECK_STATUS(MIDGE_STATUS_TIMED_OUT, midge_queue_poll(queue, 1, 0, &batch));
    midge_broker_free(first);
    CHECK_STATUS(MIDGE_STATUS_OK, publish_text(second, "a", "to the second"));
    CHECK_STATUS(MIDGE_STATUS_OK, midge_queue_poll(queue, 1, 0, &batch));
    CHECK(bytes_are(midge_message_payload(midge_batch_at(batch, 0)), "to the second"));
    midge_batch_free(batch);
    midge_subscription_free(subscription);
    midge_queue_free(queue);
    midge_broker_free(second);
}

int main(void)
{
    CHECK(strcmp(midge_version(), MIDGE_VERSION) == 0);
    RUN(starts_and_stops);
    RUN(the_defaults_listen_on_the_loopback);
    RUN(a_broker_is_freed_without_a_stop);
    RUN(nothing_is_left_behind);
    RUN(an_address_in_use_is_an_error_that_names_it);
    RUN(an_error_leaves_no_broker);
    RUN(threads_stop_it_at_once);
    RUN(those_who_wait_are_told_of_a_request);
    RUN(those_who_wait_are_told_of_a_stop);
    RUN(a_signal_handler_requests_a_stop);
    RUN(handles_are_freed_in_any_order);
    RUN(two_brokers_share_nothing);
    FINISH();
}
