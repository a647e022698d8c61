/* In a forked child every call says FORKED and every free does nothing; the parent goes on. */
#include "check.h"

#include <sys/wait.h>

/* Static, so that what the child cannot free stays reachable. */
static midge_broker *broker, *tested;
static midge_queue *queue;
static midge_subscription *of_queue, *of_callback;
static midge_batch *batch;
static midge_config *config;
static int32_t fd = -1;
static event called = EVENT_INIT;
static int freed_count;

static void callback(const midge_message *message, void *user_data)
{
    (void)message;
    (void)user_data;
    event_add(&called);
}

static void freed(void *user_data)
{
    (void)user_data;
    freed_count++;
}

static void never(midge_status status, void *user_data)
{
    (void)user_data;
    CHECK_STATUS(INT32_MAX, status);
}

static midge_decision *decision;
static event asked = EVENT_INIT;

static int32_t later(const midge_connect_request *request, midge_decision *open, void *user_data)
{
    (void)request;
    (void)user_data;
    decision = open;
    event_add(&asked);
    return MIDGE_DEFER;
}

/* What was put off is decided by the parent. */
static void a_child_decides_nothing(void)
{
    midge_config *own = config_on_free_port();
    midge_hooks hooks = MIDGE_HOOKS_INIT;
    midge_broker *asking;
    unsigned char connack[4];
    int client, status = 0;
    pid_t child;
    hooks.authenticate = later;
    MUST(midge_config_set(own, "hooks.deadline", "1h", NULL) == MIDGE_STATUS_OK);
    MUST(midge_config_set_hooks(own, &hooks) == MIDGE_STATUS_OK);
    asking = start_with(own);
    client = client_dial(asking);
    client_knock(client, "a");
    MUST(event_wait(&asked, 1));
    fflush(stdout);
    child = fork();
    if (child == 0) {
        CHECK_STATUS(MIDGE_STATUS_FORKED, midge_decision_resolve(decision, MIDGE_DENY));
        CHECK_STATUS(MIDGE_STATUS_FORKED, midge_decision_resolve_auth(decision, MIDGE_ALLOW, NULL, 0));
        midge_decision_free(decision);
        fflush(stdout);
        execlp("sh", "sh", "-c", check_failures == 0 ? "exit 0" : "exit 1", (char *)NULL);
        _exit(2);
    }
    MUST(child > 0 && waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    CHECK_STATUS(MIDGE_STATUS_OK, midge_decision_resolve(decision, MIDGE_ALLOW));
    receive(client, connack, sizeof connack);
    CHECK(connack[3] == 0);
    close(client);
    midge_broker_free(asking);
}

static void in_the_child(void)
{
    midge_listener_view listener = MIDGE_LISTENER_VIEW_INIT;
    midge_stats stats = MIDGE_STATS_INIT;
    midge_storage_stats storage = MIDGE_STORAGE_STATS_INIT;
    midge_clients *clients = NULL;
    midge_retained *retained = NULL;
    midge_subscriptions *subscriptions = NULL;
    midge_subscription *more = NULL;
    midge_batch *another = NULL;
    midge_queued *queued = NULL;
    midge_queue *new_queue = NULL;
    midge_error *error = NULL;
    midge_broker *own = NULL;
    const char *topic = "a";
    const void *payload = "b";
    const size_t len = 1;
    int32_t own_fd = -1;
    midge_fault fault = MIDGE_FAULT_INIT;
    fault.action = MIDGE_FAULT_DROP;
    CHECK_STATUS(MIDGE_STATUS_FORKED, midge_stop(broker, 0));
    CHECK_STATUS(MIDGE_STATUS_FORKED, midge_broker_request_stop(broker));
    CHECK_STATUS(MIDGE_STATUS_FORKED, midge_broker_wait(broker, -1));
    CHECK(midge_broker_address(broker, NULL) == NULL && midge_broker_listener_count(broker) == 0);
    CHECK_STATUS(MIDGE_STATUS_FORKED, midge_broker_listener_at(broker, 0, &listener));
    CHECK_STATUS(MIDGE_STATUS_FORKED, midge_broker_kick(broker, "client"));
    CHECK_STATUS(MIDGE_STATUS_FORKED, midge_broker_backup(broker, "/nowhere/at/all", NULL));
    CHECK_STATUS(MIDGE_STATUS_FORKED, midge_broker_end_session(broker, "client"));
    CHECK_STATUS(MIDGE_STATUS_FORKED, midge_broker_queued(broker, "client", 1, &queued));
    CHECK_STATUS(MIDGE_STATUS_FORKED, midge_broker_clear_queue(broker, "client", NULL));
    CHECK_STATUS(MIDGE_STATUS_FORKED, midge_broker_stats(broker, &stats));
    CHECK_STATUS(MIDGE_STATUS_FORKED, midge_broker_storage(broker, &storage));
    CHECK_STATUS(MIDGE_STATUS_FORKED, midge_broker_clients(broker, &clients));
    CHECK_STATUS(MIDGE_STATUS_FORKED, midge_broker_subscriptions(broker, &subscriptions));
    CHECK_STATUS(MIDGE_STATUS_FORKED, publish_text(broker, "a", "from the child"));
    CHECK_STATUS(MIDGE_STATUS_FORKED, midge_broker_retained(broker, "#", &retained));
    CHECK_STATUS(MIDGE_STATUS_FORKED, midge_broker_adopt_fd(broker, fd, NULL, NULL));
    CHECK_STATUS(MIDGE_STATUS_FORKED, midge_publish_acknowledged(broker, "a", "b", 1, NULL, -1));
    CHECK_STATUS(MIDGE_STATUS_FORKED, midge_publish_owned(broker, "a", "b", 1, freed, NULL, NULL));
    CHECK_STATUS(MIDGE_STATUS_FORKED, midge_publish_with_callback(broker, "a", "b", 1, NULL, never, NULL, freed));
    CHECK(freed_count == 2);
    freed_count = 0;
    CHECK_STATUS(MIDGE_STATUS_FORKED, midge_publish_message(broker, midge_batch_at(batch, 0), 0));
    CHECK_STATUS(MIDGE_STATUS_FORKED, midge_publish_many(broker, &topic, &payload, &len, 1, NULL, NULL));
    CHECK_STATUS(MIDGE_STATUS_FORKED,
                 midge_subscribe(broker, "a", NULL, callback, NULL, freed, &more, &error));
    CHECK(error_is(error, MIDGE_STATUS_FORKED, "forked") && freed_count == 1);
    CHECK_STATUS(MIDGE_STATUS_FORKED, midge_queue_new(broker, NULL, &new_queue));
    CHECK_STATUS(MIDGE_STATUS_FORKED, midge_queue_subscribe(queue, "a", NULL, 0, &more, NULL));
    CHECK_STATUS(MIDGE_STATUS_FORKED, midge_queue_poll(queue, 1, -1, &another));
    CHECK_STATUS(MIDGE_STATUS_FORKED, midge_queue_fd(queue, &own_fd));
    CHECK(own_fd == -1 && close(fd) == 0);
    CHECK_STATUS(MIDGE_STATUS_FORKED, midge_queue_close(queue));
    CHECK(midge_queue_len(queue) == 0 && midge_queue_dropped(queue) == 0);
    CHECK_STATUS(MIDGE_STATUS_FORKED, midge_broker_advance(tested, 1000));
    CHECK(midge_broker_time(tested) == -1);
    CHECK_STATUS(MIDGE_STATUS_FORKED, midge_broker_inject(tested, &fault, NULL, NULL));
    CHECK_STATUS(MIDGE_STATUS_FORKED, midge_broker_fault_hits(tested, 1, 1, -1, NULL));
    CHECK_STATUS(MIDGE_STATUS_FORKED, midge_broker_clear_fault(tested, 0));
    CHECK_STATUS(MIDGE_STATUS_FORKED, midge_broker_cut(tested, "client"));
    CHECK_STATUS(MIDGE_STATUS_FORKED, midge_broker_pause(tested, "client", 1));
    CHECK_STATUS(MIDGE_STATUS_FORKED, midge_broker_published(tested, "#", &another, NULL));
    CHECK_STATUS(MIDGE_STATUS_FORKED, midge_broker_forget_published(tested));
    CHECK_STATUS(MIDGE_STATUS_FORKED, midge_broker_wait_for(tested, "#", 1, -1, NULL));
    CHECK_STATUS(MIDGE_STATUS_FORKED, midge_broker_wait_for_client(tested, "client", 1, -1));
    CHECK_STATUS(MIDGE_STATUS_FORKED, midge_broker_wait_for_subscription(tested, "#", -1));
    midge_broker_free(tested);
    midge_subscription_free(of_callback);
    midge_subscription_free(of_queue);
    midge_queue_free(queue);
    midge_broker_free(broker);
    CHECK(freed_count == 1);
    /* Memory is memory. */
    CHECK(bytes_are(midge_message_payload(midge_batch_at(batch, 0)), "before"));
    midge_batch_free(batch);
    /* A child may have brokers of its own. */
    CHECK_STATUS(MIDGE_STATUS_OK, midge_start(config, &own, NULL));
    CHECK_STATUS(MIDGE_STATUS_OK, publish_text(own, "a", "in the child"));
    CHECK_STATUS(MIDGE_STATUS_OK, midge_stop(own, 0));
    midge_broker_free(own);
    midge_config_free(config);
}

static void a_child_is_told_and_the_parent_goes_on(void)
{
    int status = 0;
    pid_t child;
    config = config_on_free_port();
    MUST(midge_start(config, &broker, NULL) == MIDGE_STATUS_OK);
    MUST(midge_start_test(NULL, &tested, NULL) == MIDGE_STATUS_OK);
    MUST(midge_queue_new(broker, NULL, &queue) == MIDGE_STATUS_OK);
    MUST(midge_queue_subscribe(queue, "a", NULL, 0, &of_queue, NULL) == MIDGE_STATUS_OK);
    MUST(midge_subscribe(broker, "a", NULL, callback, NULL, freed, &of_callback, NULL) == MIDGE_STATUS_OK);
    CHECK_STATUS(MIDGE_STATUS_OK, publish_text(broker, "a", "before"));
    MUST(midge_queue_poll(queue, 1, -1, &batch) == MIDGE_STATUS_OK);
    MUST(midge_queue_fd(queue, &fd) == MIDGE_STATUS_OK);
    CHECK(event_wait(&called, 1));
    fflush(stdout);
    child = fork();
    if (child == 0) {
        in_the_child();
        fflush(stdout);
        /* Not _exit: what the parent's threads held looks lost here, and valgrind would say so. */
        execlp("sh", "sh", "-c", check_failures == 0 ? "exit 0" : "exit 1", (char *)NULL);
        _exit(2);
    }
    MUST(child > 0 && waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    midge_batch_free(batch);
    /* The child has neither stopped the parent's broker nor asked for it, nor ended its subscriptions. */
    CHECK_STATUS(MIDGE_STATUS_TIMED_OUT, midge_broker_wait(broker, 0));
    CHECK(!is_readable(fd));
    CHECK_STATUS(MIDGE_STATUS_OK, publish_text(broker, "a", "after"));
    CHECK(is_readable(fd));
    CHECK_STATUS(MIDGE_STATUS_OK, midge_queue_poll(queue, 1, -1, &batch));
    CHECK(bytes_are(midge_message_payload(midge_batch_at(batch, 0)), "after"));
    CHECK(event_wait(&called, 2));
    midge_batch_free(batch);
    midge_subscription_free(of_callback);
    midge_subscription_free(of_queue);
    midge_queue_free(queue);
    midge_broker_free(broker);
    CHECK_STATUS(MIDGE_STATUS_OK, midge_broker_advance(tested, 1000));
    CHECK(midge_broker_time(tested) == 1000);
    midge_broker_free(tested);
    midge_config_free(config);
    CHECK(freed_count == 1);
}

/* A broker on a free port of an address that no other test uses: nobody is given the port while it is free. */
static midge_config *config_on_own_address(void)
{
    midge_config *own = NULL;
    MUST(midge_config_new(&own) == MIDGE_STATUS_OK);
    MUST(midge_config_set(own, "listener.tcp.bind", "127.77.0.2:0", NULL) == MIDGE_STATUS_OK);
    return own;
}

static void a_child_keeps_no_socket_of_the_broker(void)
{
    static const unsigned char disconnect[] = { 0xe0, 0 };
    midge_broker *again = NULL;
    midge_config *same;
    midge_error *error = NULL;
    int kept, left, release[2], status = 0;
    char address[64], byte;
    pid_t child;
    broker = start_with(config_on_own_address());
    strcpy(address, midge_broker_address(broker, NULL));
    kept = client_connect(broker, "kept");
    left = client_connect(broker, "left");
    MUST(pipe(release) == 0);
    fflush(stdout);
    child = fork();
    if (child == 0) {
        /* Lives, and is what fork has made of it, until the parent has seen everything. */
        close(release[1]);
        if (read(release[0], &byte, 1) == 0)
            execlp("true", "true", (char *)NULL);
        _exit(2);
    }
    MUST(child > 0);
    close(release[0]);
    /* What the broker closes is closed, and what it stops is free. */
    send_all(left, disconnect, sizeof disconnect);
    CHECK(is_closed_by_peer(left));
    CHECK_STATUS(MIDGE_STATUS_OK, publish_text(broker, "a", "the other connection lives"));
    CHECK_STATUS(MIDGE_STATUS_OK, midge_stop(broker, 0));
    CHECK(is_closed_by_peer(kept));
    MUST(midge_config_new(&same) == MIDGE_STATUS_OK);
    MUST(midge_config_set(same, "listener.tcp.bind", address, NULL) == MIDGE_STATUS_OK);
    CHECK_STATUS(MIDGE_STATUS_OK, midge_start(same, &again, &error));
    midge_error_free(error);
    close(release[1]);
    MUST(waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    midge_config_free(same);
    midge_broker_free(again);
    midge_broker_free(broker);
}

/* The threads of the parent's brokers wait meanwhile: what they wait in must not be what the child's threads wait in. */
static void a_child_starts_brokers_of_its_own(void)
{
    enum { CHILDREN = 4, BROKERS = 12 };
    midge_broker *brokers[BROKERS];
    midge_subscription *subscription = NULL;
    int index, status;
    for (index = 0; index < BROKERS; index++) {
        MUST(midge_start_test_durable(NULL, &brokers[index], NULL) == MIDGE_STATUS_OK);
        MUST(midge_subscribe(brokers[index], "#", NULL, callback, NULL, NULL, &subscription, NULL) == MIDGE_STATUS_OK);
        midge_subscription_free(subscription);
        CHECK_STATUS(MIDGE_STATUS_OK, midge_publish_acknowledged(brokers[index], "a", "b", 1, NULL, -1));
    }
    for (index = 0; index < CHILDREN; index++) {
        pid_t child;
        fflush(stdout);
        child = fork();
        if (child == 0) {
            midge_broker *own[BROKERS];
            alarm(PATIENCE);
            for (index = 0; index < BROKERS; index++)
                CHECK_STATUS(MIDGE_STATUS_OK, midge_start_test_durable(NULL, &own[index], NULL));
            for (index = 0; index < BROKERS; index++) {
                CHECK_STATUS(MIDGE_STATUS_OK, midge_publish_acknowledged(own[index], "a", "b", 1, NULL, -1));
                midge_broker_free(own[index]);
            }
            fflush(stdout);
            execlp("sh", "sh", "-c", check_failures == 0 ? "exit 0" : "exit 1", (char *)NULL);
            _exit(2);
        }
        MUST(child > 0 && waitpid(child, &status, 0) == child);
        CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
    for (index = 0; index < BROKERS; index++) {
        CHECK_STATUS(MIDGE_STATUS_OK, midge_publish_acknowledged(brokers[index], "a", "b", 1, NULL, -1));
        midge_broker_free(brokers[index]);
    }
}

int main(void)
{
    RUN(a_child_is_told_and_the_parent_goes_on);
    RUN(a_child_keeps_no_socket_of_the_broker);
    RUN(a_child_decides_nothing);
    RUN(a_child_starts_brokers_of_its_own);
    FINISH();
}
