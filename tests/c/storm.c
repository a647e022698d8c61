/* Start, use and stop of brokers while everything happens at once: hooks, callbacks, kicks, take-overs, forks. After each round
 * nothing is left, what was acknowledged was told, and everything that was given was given back once.
 *
 * STORM_SECONDS (1) says how long, STORM_SEED (1) which rounds. */
#include "check.h"

#include <dirent.h>
#include <sys/wait.h>

/* Messages that were acknowledged, in all rounds. */
static unsigned long acknowledged;

#define MESSAGES 200000
#define CLIENTS 4
#define NAMES 3
#define SHARED 9000

/* One round. */
typedef struct round_of {
    midge_broker *broker;
    midge_queue *queue;
    const char *address;
    unsigned seed;
    /* Set before a stop begins, and after it has returned. */
    int stops, stopped;
    unsigned messages;
    /* By number: acknowledged to those who published it, and how often it was told. */
    unsigned char *acknowledged, *heard;
    int connected, disconnected, late;
    /* What was given to the broker with a function that frees it, and how often that was called. */
    int given, freed;
    /* Confirmations that were asked for, and those that came. */
    int asked, confirmed;
} round_of;

typedef struct member {
    round_of *round;
    unsigned dice;
    void (*work)(struct member *member);
    pthread_t thread;
} member;

static unsigned below(member *who, unsigned most)
{
    who->dice ^= who->dice << 13;
    who->dice ^= who->dice >> 17;
    who->dice ^= who->dice << 5;
    return (who->dice >> 4) % most;
}

static void add(int *count)
{
    __atomic_fetch_add(count, 1, __ATOMIC_SEQ_CST);
}

static int get(const int *count)
{
    return __atomic_load_n(count, __ATOMIC_SEQ_CST);
}

static void pause_for(unsigned microseconds)
{
    struct timespec time;
    time.tv_sec = (time_t)(microseconds / 1000000);
    time.tv_nsec = (long)(microseconds % 1000000) * 1000;
    nanosleep(&time, NULL);
}

/* What a hook or a callback costs. */
static void work_a_while(void)
{
    struct timespec begun, now;
    clock_gettime(CLOCK_MONOTONIC, &begun);
    do
        clock_gettime(CLOCK_MONOTONIC, &now);
    while ((now.tv_sec - begun.tv_sec) * 1000000000 + (now.tv_nsec - begun.tv_nsec) < 50000);
}

static int entries(const char *path)
{
    int count = 0;
    DIR *directory = opendir(path);
    MUST(directory != NULL);
    while (readdir(directory) != NULL)
        count++;
    closedir(directory);
    return count;
}

/* ---- hooks and callbacks ---- */

static void note(round_of *round, int *count)
{
    if (get(&round->stopped))
        add(&round->late);
    add(count);
}

static int32_t authorize(const midge_access_request *request, midge_decision *decision, void *user_data)
{
    (void)request;
    (void)decision;
    (void)user_data;
    work_a_while();
    return MIDGE_ALLOW;
}

static void on_connected(const midge_connection_view *view, void *user_data)
{
    (void)view;
    note((round_of *)user_data, &((round_of *)user_data)->connected);
}

static void on_disconnected(const midge_disconnection_view *view, void *user_data)
{
    (void)view;
    note((round_of *)user_data, &((round_of *)user_data)->disconnected);
}

/* Publishes from within. */
static void echo(const midge_message *message, void *user_data)
{
    round_of *round = (round_of *)user_data;
    (void)message;
    work_a_while();
    (void)midge_publish(round->broker, "own/echo", "x", 1, NULL);
    if (get(&round->stops))
        CHECK_STATUS(MIDGE_STATUS_IN_CALLBACK, midge_stop(round->broker, 0));
}

static void free_given(void *user_data)
{
    add(&((round_of *)user_data)->freed);
}

/* A payload that was lent: the round stands before it. */
static void free_lent(void *user_data)
{
    round_of **lent = (round_of **)user_data;
    add(&(*lent)->freed);
    free(lent);
}

static void confirm(midge_status status, void *user_data)
{
    (void)status;
    add(&((round_of *)user_data)->confirmed);
}

/* ---- a client whose connection may end at any time ---- */

static int try_send(int fd, const void *data, size_t len)
{
    return send(fd, data, len, MSG_NOSIGNAL) == (ssize_t)len;
}

static int try_receive(int fd, unsigned char *data, size_t len)
{
    while (len > 0) {
        struct pollfd ready = { fd, POLLIN, 0 };
        ssize_t received;
        /* A broker that neither answers nor closes hangs. */
        MUST(poll(&ready, 1, PATIENCE * 1000) == 1);
        received = recv(fd, data, len, 0);
        if (received <= 0)
            return 0;
        data += received;
        len -= (size_t)received;
    }
    return 1;
}

/* Reads packets until one begins with `first`, and acknowledges messages. False if the connection ends. */
static int until(int fd, unsigned char first)
{
    for (;;) {
        unsigned char head[2], body[128], puback[4] = { 0x40, 2, 0, 0 };
        if (!try_receive(fd, head, 2))
            return 0;
        MUST(head[1] < sizeof body);
        if (!try_receive(fd, body, head[1]))
            return 0;
        if (head[0] == first)
            return 1;
        if ((head[0] & 0xf6) == 0x32) {
            size_t topic = (size_t)body[0] * 256 + body[1];
            memcpy(puback + 2, body + 2 + topic, 2);
            if (!try_send(fd, puback, sizeof puback))
                return 0;
        }
    }
}

static int try_connect(member *who)
{
    static const unsigned char subscribe[] = { 0x82, 8, 0, 1, 0, 3, 't', '/', '0', 1 };
    unsigned char connect_[] = { 0x10, 14, 0, 4, 'M', 'Q', 'T', 'T', 4, 0, 0, 0, 0, 2, 'c', '0' };
    struct sockaddr_in address;
    char host[32] = "";
    int port = 0, fd = socket(AF_INET, SOCK_STREAM, 0);
    MUST(fd >= 0 && sscanf(who->round->address, "%31[0-9.]:%d", host, &port) == 2);
    memset(&address, 0, sizeof address);
    address.sin_family = AF_INET;
    MUST(inet_pton(AF_INET, host, &address.sin_addr) == 1);
    address.sin_port = htons((unsigned short)port);
    connect_[9] = below(who, 2) == 0 ? 2 : 0;
    connect_[15] = (unsigned char)('0' + below(who, NAMES));
    if (connect(fd, (struct sockaddr *)&address, sizeof address) == 0 && try_send(fd, connect_, sizeof connect_)
        && until(fd, 0x20) && (below(who, 2) == 0 || (try_send(fd, subscribe, sizeof subscribe) && until(fd, 0x90))))
        return fd;
    close(fd);
    return -1;
}

static unsigned number_of(round_of *round)
{
    unsigned number = __atomic_fetch_add(&round->messages, 1, __ATOMIC_SEQ_CST);
    MUST(number < MESSAGES);
    return number;
}

static void be_a_client(member *who)
{
    round_of *round = who->round;
    while (!get(&round->stopped)) {
        unsigned left = below(who, 60);
        int fd = try_connect(who);
        if (fd < 0) {
            pause_for(200);
            continue;
        }
        while (left-- > 0) {
            unsigned char packet[] = { 0x32, 15, 0, 3, 't', '/', '0', 0, 1, '0', '0', '0', '0', '0', '0', '0', '0' };
            char text[9];
            unsigned number = number_of(round);
            snprintf(text, sizeof text, "%08u", number);
            memcpy(packet + 9, text, 8);
            if (!try_send(fd, packet, sizeof packet) || !until(fd, 0x40))
                break;
            round->acknowledged[number] = 1;
        }
        close(fd);
    }
}

/* ---- the program ---- */

static void publish(member *who)
{
    round_of *round = who->round;
    midge_publish_options options = MIDGE_PUBLISH_OPTIONS_INIT;
    midge_status status = MIDGE_STATUS_OK;
    while (status == MIDGE_STATUS_OK) {
        unsigned number = number_of(round);
        char text[9];
        snprintf(text, sizeof text, "%08u", number);
        options.qos = (int32_t)below(who, 3);
        switch (below(who, 3)) {
        case 0:
            status = midge_publish(round->broker, "t/1", text, 8, &options);
            break;
        case 1: {
            round_of **lent = (round_of **)malloc(sizeof round + SHARED);
            char *payload = (char *)(lent + 1);
            MUST(lent != NULL);
            *lent = round;
            memset(payload, '.', SHARED);
            memcpy(payload, text, 8);
            add(&round->given);
            status = midge_publish_owned(round->broker, "t/1", payload, SHARED, free_lent, lent, &options);
            break;
        }
        default:
            add(&round->given);
            add(&round->asked);
            status = midge_publish_with_callback(
                round->broker, "t/1", text, 8, &options, confirm, round, free_given);
            if (status != MIDGE_STATUS_OK)
                add(&round->confirmed);
        }
        /* What it takes while it stops may not be told. */
        if (status == MIDGE_STATUS_OK && !get(&round->stops))
            round->acknowledged[number] = 1;
        pause_for(below(who, 300));
    }
    CHECK_STATUS(MIDGE_STATUS_STATE, status);
}

static void hear(member *who)
{
    round_of *round = who->round;
    midge_batch *batch = NULL;
    midge_status status;
    while ((status = midge_queue_poll(round->queue, 1000, PATIENCE * 1000, &batch)) == MIDGE_STATUS_OK) {
        size_t index;
        for (index = 0; index < midge_batch_count(batch); index++) {
            midge_bytes payload = midge_message_payload(midge_batch_at(batch, index));
            char text[9] = "";
            MUST(payload.len >= 8);
            memcpy(text, payload.data, 8);
            round->heard[atoi(text)]++;
        }
        midge_batch_free(batch);
    }
    CHECK_STATUS(MIDGE_STATUS_CLOSED, status);
}

static void call_back(member *who)
{
    round_of *round = who->round;
    for (;;) {
        midge_subscribe_options options = MIDGE_SUBSCRIBE_OPTIONS_INIT;
        midge_subscription *subscription = NULL;
        midge_status status;
        options.direct = (int32_t)below(who, 2);
        add(&round->given);
        status = midge_subscribe(round->broker, "t/#", &options, echo, round, free_given, &subscription, NULL);
        if (status != MIDGE_STATUS_OK) {
            CHECK_STATUS(MIDGE_STATUS_STATE, status);
            return;
        }
        pause_for(below(who, 20000));
        midge_subscription_free(subscription);
    }
}

static void administrate(member *who)
{
    round_of *round = who->round;
    midge_status status = MIDGE_STATUS_OK;
    while (status >= 0) {
        char name[3] = "c0";
        midge_queued *queued = NULL;
        midge_clients *clients = NULL;
        name[1] = (char)('0' + below(who, NAMES));
        switch (below(who, 5)) {
        case 0:
            status = midge_broker_kick(round->broker, name);
            break;
        case 1:
            status = midge_broker_end_session(round->broker, name);
            break;
        case 2:
            status = midge_broker_clear_queue(round->broker, name, NULL);
            break;
        case 3:
            (void)midge_broker_queued(round->broker, name, 10, &queued);
            midge_queued_free(queued);
            break;
        default:
            CHECK_STATUS(MIDGE_STATUS_OK, midge_broker_clients(round->broker, &clients));
            midge_clients_free(clients);
        }
        pause_for(below(who, 3000));
    }
    CHECK_STATUS(MIDGE_STATUS_STATE, status);
}

static void fork_children(member *who)
{
    round_of *round = who->round;
    while (!get(&round->stopped)) {
        int status = -1, tries = 0;
        pid_t child = fork();
        MUST(child >= 0);
        if (child == 0) {
            int good = midge_publish(round->broker, "t/1", "x", 1, NULL) == MIDGE_STATUS_FORKED;
            midge_queue_free(round->queue);
            midge_broker_free(round->broker);
            _exit(good ? 0 : 1);
        }
        while (waitpid(child, &status, WNOHANG) == 0 && tries++ < PATIENCE * 1000)
            pause_for(1000);
        if (tries > PATIENCE * 1000)
            kill(child, SIGKILL);
        MUST(WIFEXITED(status) && WEXITSTATUS(status) == 0);
        pause_for(below(who, 30000));
    }
}

static void stop(member *who)
{
    CHECK_STATUS(MIDGE_STATUS_OK, midge_stop(who->round->broker, (int64_t)below(who, 300)));
}

static void *begin(void *user_data)
{
    member *who = (member *)user_data;
    who->work(who);
    return NULL;
}

static void hire(round_of *round, member *who, unsigned index, void (*work)(member *))
{
    who->round = round;
    who->dice = round->seed * 2654435761u + index * 40503u + 1;
    who->work = work;
    MUST(pthread_create(&who->thread, NULL, begin, who) == 0);
}

/* Returns the subscription of the queue. */
static midge_subscription *start_round(round_of *round, member *main_)
{
    static const char *const workers[] = { "1", "2", "4" };
    midge_config *config = config_on_free_port();
    midge_hooks hooks = MIDGE_HOOKS_INIT;
    midge_queue_options bounds = MIDGE_QUEUE_OPTIONS_INIT;
    midge_subscribe_options options = MIDGE_SUBSCRIBE_OPTIONS_INIT;
    midge_subscription *subscription = NULL;
    MUST(midge_config_set(config, "runtime.worker_threads", workers[below(main_, 3)], NULL) == MIDGE_STATUS_OK);
    MUST(midge_config_set(config, "hooks.max_waiting", "1000000", NULL) == MIDGE_STATUS_OK);
    hooks.user_data = round;
    hooks.free_user_data = free_given;
    hooks.on_connected = on_connected;
    hooks.on_disconnected = on_disconnected;
    if (below(main_, 2) == 0)
        hooks.authorize = authorize;
    add(&round->given);
    MUST(midge_config_set_hooks(config, &hooks) == MIDGE_STATUS_OK);
    round->broker = start_with(config);
    round->address = midge_broker_address(round->broker, NULL);
    bounds.capacity = MESSAGES;
    bounds.max_bytes = (uint64_t)1 << 31;
    options.qos = 1;
    MUST(midge_queue_new(round->broker, &bounds, &round->queue) == MIDGE_STATUS_OK);
    MUST(midge_queue_subscribe(round->queue, "t/#", &options, 0, &subscription, NULL) == MIDGE_STATUS_OK);
    return subscription;
}

static void check_round(round_of *round)
{
    midge_stats stats = MIDGE_STATS_INIT;
    unsigned number;
    for (number = 0; number < round->messages; number++) {
        acknowledged += round->acknowledged[number];
        if (round->heard[number] > 1 || round->heard[number] < round->acknowledged[number]) {
            printf("# seed %u: message %u was told %d times\n", round->seed, number, round->heard[number]);
            CHECK(round->heard[number] == 1);
        }
    }
    CHECK(midge_queue_dropped(round->queue) == 0);
    CHECK_STATUS(MIDGE_STATUS_OK, midge_broker_stats(round->broker, &stats));
    CHECK(stats.clients_connected == 0 && stats.hooks_failed == 0 && stats.notices_lost == 0);
    CHECK(round->connected == round->disconnected && round->late == 0);
    CHECK(round->asked == round->confirmed);
}

static void play(unsigned seed)
{
    static void (*const works[])(member *) = { publish, publish, hear, call_back, administrate, fork_children };
    const unsigned others = sizeof works / sizeof *works;
    member crew[CLIENTS + sizeof works / sizeof *works + 2], main_;
    midge_subscription *subscription;
    round_of round;
    unsigned index, count = 0, stops;
    memset(&round, 0, sizeof round);
    round.seed = main_.dice = seed * 7919 + 1;
    round.acknowledged = (unsigned char *)calloc(2, MESSAGES);
    MUST(round.acknowledged != NULL);
    round.heard = round.acknowledged + MESSAGES;
    subscription = start_round(&round, &main_);
    for (index = 0; index < CLIENTS + others; index++, count++)
        hire(&round, &crew[count], count, index < CLIENTS ? be_a_client : works[index - CLIENTS]);
    pause_for(20000 + below(&main_, 150000));
    stops = 1 + below(&main_, 2);
    add(&round.stops);
    for (index = 0; index < stops; index++)
        hire(&round, &crew[count + index], count + index, stop);
    for (index = 0; index < stops; index++)
        MUST(pthread_join(crew[count + index].thread, NULL) == 0);
    add(&round.stopped);
    for (index = 0; index < count; index++)
        MUST(pthread_join(crew[index].thread, NULL) == 0);
    check_round(&round);
    midge_subscription_free(subscription);
    midge_queue_free(round.queue);
    midge_broker_free(round.broker);
    CHECK(round.given == round.freed);
    if (check_failures > 0)
        printf("# STORM_SEED=%u: given %d, freed %d; connected %d, disconnected %d, late %d; asked %d, confirmed %d\n",
               seed, round.given, round.freed, round.connected, round.disconnected, round.late, round.asked,
               round.confirmed);
    free(round.acknowledged);
}

static unsigned from_environment(const char *name, unsigned usual)
{
    const char *text = getenv(name);
    return text == NULL ? usual : (unsigned)strtoul(text, NULL, 10);
}

static void a_storm_leaves_nothing_behind(void)
{
    const time_t end = time(NULL) + (time_t)from_environment("STORM_SECONDS", 1);
    unsigned seed = from_environment("STORM_SEED", 1);
    const int descriptors = entries("/proc/self/fd"), threads = entries("/proc/self/task");
    do {
        int tries = 0;
        /* Each round has its own deadline. */
        check_begin("a_storm_leaves_nothing_behind");
        play(seed++);
        /* The system forgets a thread a moment after it was joined. */
        while ((entries("/proc/self/fd") != descriptors || entries("/proc/self/task") != threads) && tries++ < 10000)
            pause_for(1000);
        CHECK(entries("/proc/self/fd") == descriptors && entries("/proc/self/task") == threads);
    } while (time(NULL) < end && check_failures == 0);
    CHECK(acknowledged > 0);
    printf("# %u rounds, %lu messages acknowledged and told\n", seed - from_environment("STORM_SEED", 1), acknowledged);
}

int main(void)
{
    RUN(a_storm_leaves_nothing_behind);
    FINISH();
}
