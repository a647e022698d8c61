/* The harness of the C tests: checks, tests with a name, events, a broker on a free port, a raw MQTT client.
 * It is C99 and C++17, like everything that includes it. */
#ifndef CHECK_H
#define CHECK_H

#ifndef _POSIX_C_SOURCE
#define _POSIX_C_SOURCE 200809L
#endif

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <midge.h>

/* How long anything may take before the test is given up, in seconds; valgrind is slow. */
#define PATIENCE 60

/* How long a test may take before its program is ended, in seconds. */
#ifndef DEADLINE
#define DEADLINE 300
#endif

static int check_failures;

/* Not every test uses every helper. */
#if defined(__GNUC__)
#define HELPER static __attribute__((unused))
#else
#define HELPER static
#endif

#define CHECK(condition)                                                                       \
    do {                                                                                       \
        if (!(condition)) {                                                                    \
            printf("# %s:%d: not true: %s\n", __FILE__, __LINE__, #condition);                 \
            check_failures++;                                                                  \
        }                                                                                      \
    } while (0)

#define CHECK_STATUS(expected, call)                                                           \
    do {                                                                                       \
        midge_status check_status_ = (call);                                                   \
        if (check_status_ != (expected)) {                                                     \
            printf("# %s:%d: %s, not %s: %s\n", __FILE__, __LINE__,                            \
                   midge_status_name(check_status_), midge_status_name(expected), #call);      \
            check_failures++;                                                                  \
        }                                                                                      \
    } while (0)

/* The test that runs. */
static const char *volatile check_running = "(no test)";

HELPER void check_say(const char *text)
{
    ssize_t written = write(STDOUT_FILENO, text, strlen(text));
    (void)written;
}

/* A test that hangs fails: its name is printed, and the program ends. */
HELPER void check_is_late(int signal)
{
    (void)signal;
    check_say("not ok ");
    check_say(check_running);
    check_say(" (has not ended at its deadline)\n");
    _exit(1);
}

/* A child by fork has no alarm of its parent's. */
HELPER void check_child(void)
{
    alarm(DEADLINE);
}

/* Begins the time that a test has. */
HELPER void check_begin(const char *test)
{
    static int prepared;
    if (!prepared) {
        prepared = 1;
        /* So that nothing is lost that was printed before the program ends. */
        setvbuf(stdout, NULL, _IOLBF, BUFSIZ);
        signal(SIGALRM, check_is_late);
        pthread_atfork(NULL, NULL, check_child);
    }
    check_running = test;
    alarm(DEADLINE);
}

/* For what the rest of the program cannot do without. */
#define MUST(condition)                                                                        \
    do {                                                                                       \
        if (!(condition)) {                                                                    \
            printf("# %s:%d: not true: %s\nnot ok (given up)\n", __FILE__, __LINE__, #condition); \
            fflush(stdout);                                                                    \
            _exit(1);                                                                          \
        }                                                                                      \
    } while (0)

#define RUN(test)                                                                              \
    do {                                                                                       \
        int check_before_ = check_failures;                                                    \
        check_begin(#test);                                                                    \
        test();                                                                                \
        printf("%s %s\n", check_failures == check_before_ ? "ok" : "not ok", #test);           \
        fflush(stdout);                                                                        \
    } while (0)

#define FINISH() return check_failures == 0 ? 0 : 1

/* ---- bytes ---- */

HELPER int bytes_are(midge_bytes bytes, const char *text)
{
    return bytes.data != NULL && bytes.len == strlen(text) && memcmp(bytes.data, text, bytes.len) == 0;
}

/* Whether the error has this code and a sentence with this part in it; frees it. */
HELPER int error_is(midge_error *error, midge_status code, const char *part)
{
    int right = error != NULL && midge_error_code(error) == code && strstr(midge_error_message(error), part) != NULL;
    if (!right)
        printf("# the error says: %s\n", error == NULL ? "(none)" : midge_error_message(error));
    midge_error_free(error);
    return right;
}

/* ---- events ---- */

typedef struct event {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    int count;
} event;

#define EVENT_INIT { PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0 }

HELPER void event_add(event *event)
{
    pthread_mutex_lock(&event->mutex);
    event->count++;
    pthread_cond_broadcast(&event->changed);
    pthread_mutex_unlock(&event->mutex);
}

HELPER int event_count(event *event)
{
    int count;
    pthread_mutex_lock(&event->mutex);
    count = event->count;
    pthread_mutex_unlock(&event->mutex);
    return count;
}

/* Waits until the event has happened so many times. */
HELPER int event_wait(event *event, int count)
{
    struct timespec deadline;
    int waited = 0;
    clock_gettime(CLOCK_REALTIME, &deadline);
    deadline.tv_sec += PATIENCE;
    pthread_mutex_lock(&event->mutex);
    while (event->count < count && waited == 0)
        waited = pthread_cond_timedwait(&event->changed, &event->mutex, &deadline);
    pthread_mutex_unlock(&event->mutex);
    return waited == 0;
}

/* ---- threads ---- */

/* The place below /proc that tells of the thread that calls. */
HELPER void own_task(char *path, size_t size)
{
    char link[64];
    ssize_t len = readlink("/proc/thread-self", link, sizeof link - 1);
    MUST(len > 0);
    link[len] = '\0';
    MUST((size_t)snprintf(path, size, "/proc/%s/stat", link) < size);
}

/* Waits until a thread sleeps: what it waits for must wake it. */
HELPER void wait_until_asleep(const char *task)
{
    time_t over = time(NULL) + PATIENCE;
    char state = '?';
    while (state != 'S') {
        FILE *file = fopen(task, "r");
        MUST(file != NULL && time(NULL) < over);
        MUST(fscanf(file, "%*d %*[^)]) %c", &state) == 1);
        fclose(file);
        sched_yield();
    }
}

/* ---- descriptors ---- */

/* Whether a descriptor is readable now. */
HELPER int is_readable(int fd)
{
    struct pollfd ready = { fd, POLLIN, 0 };
    return poll(&ready, 1, 0) == 1 && (ready.revents & POLLIN) != 0;
}

/* ---- brokers ---- */

HELPER midge_config *config_on_free_port(void)
{
    midge_config *config = NULL;
    MUST(midge_config_new(&config) == MIDGE_STATUS_OK);
    MUST(midge_config_set(config, "listener.tcp.bind", "127.0.0.1:0", NULL) == MIDGE_STATUS_OK);
    return config;
}

HELPER midge_broker *start_with(midge_config *config)
{
    midge_broker *broker = NULL;
    midge_error *error = NULL;
    if (midge_start(config, &broker, &error) != MIDGE_STATUS_OK) {
        printf("# %s\n", midge_error_message(error));
        midge_error_free(error);
    }
    midge_config_free(config);
    MUST(broker != NULL);
    return broker;
}

HELPER midge_broker *start(void)
{
    return start_with(config_on_free_port());
}

HELPER midge_status publish_text(midge_broker *broker, const char *topic, const char *text)
{
    return midge_publish(broker, topic, text, strlen(text), NULL);
}

/* ---- a raw MQTT 3.1.1 client ---- */

HELPER void send_all(int fd, const void *data, size_t len)
{
    const char *from = (const char *)data;
    while (len > 0) {
        ssize_t sent = send(fd, from, len, MSG_NOSIGNAL);
        MUST(sent > 0);
        from += sent;
        len -= (size_t)sent;
    }
}

HELPER void receive(int fd, void *data, size_t len)
{
    char *to = (char *)data;
    while (len > 0) {
        struct pollfd ready = { fd, POLLIN, 0 };
        ssize_t received;
        MUST(poll(&ready, 1, PATIENCE * 1000) == 1);
        received = recv(fd, to, len, 0);
        MUST(received > 0);
        to += received;
        len -= (size_t)received;
    }
}

/* Waits until the peer has closed the connection, and closes it. */
HELPER int is_closed_by_peer(int fd)
{
    char byte;
    struct pollfd ready = { fd, POLLIN, 0 };
    ssize_t received = 1;
    while (received > 0 && poll(&ready, 1, PATIENCE * 1000) == 1)
        received = recv(fd, &byte, 1, 0);
    close(fd);
    return received <= 0;
}

/* Says CONNECT on a connected socket, with a client identifier of 1 to 60 bytes, and is accepted. */
HELPER void client_knock(int fd, const char *client_id)
{
    static const unsigned char head[] = { 0, 4, 'M', 'Q', 'T', 'T', 4, 2, 0, 60, 0 };
    unsigned char packet[80];
    size_t len = strlen(client_id);
    packet[0] = 0x10;
    packet[1] = (unsigned char)(sizeof head + 1 + len);
    memcpy(packet + 2, head, sizeof head);
    packet[2 + sizeof head] = (unsigned char)len;
    memcpy(packet + 3 + sizeof head, client_id, len);
    send_all(fd, packet, 3 + sizeof head + len);
}

/* The same, and is let in. */
HELPER void client_open(int fd, const char *client_id)
{
    unsigned char connack[4];
    client_knock(fd, client_id);
    receive(fd, connack, sizeof connack);
    MUST(connack[0] == 0x20 && connack[3] == 0);
}

/* A connection to an address such as "127.0.0.1:1883". */
HELPER int dial(const char *text)
{
    struct sockaddr_in address;
    char host[32] = "";
    int port = 0;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    MUST(fd >= 0 && text != NULL && sscanf(text, "%31[0-9.]:%d", host, &port) == 2);
    memset(&address, 0, sizeof address);
    address.sin_family = AF_INET;
    MUST(inet_pton(AF_INET, host, &address.sin_addr) == 1);
    address.sin_port = htons((unsigned short)port);
    MUST(connect(fd, (struct sockaddr *)&address, sizeof address) == 0);
    return fd;
}

/* A connection to the broker's first listener. */
HELPER int client_dial(midge_broker *broker)
{
    return dial(midge_broker_address(broker, NULL));
}

/* Connects with a client identifier of 1 to 60 bytes. */
HELPER int client_connect(midge_broker *broker, const char *client_id)
{
    int fd = client_dial(broker);
    client_open(fd, client_id);
    return fd;
}

/* Subscribes at QoS 0 to a filter of 1 to 60 bytes. */
HELPER void client_subscribe(int fd, const char *filter)
{
    unsigned char packet[80], suback[5];
    size_t len = strlen(filter);
    packet[0] = 0x82;
    packet[1] = (unsigned char)(5 + len);
    packet[2] = 0;
    packet[3] = 1;
    packet[4] = 0;
    packet[5] = (unsigned char)len;
    memcpy(packet + 6, filter, len);
    packet[6 + len] = 0;
    send_all(fd, packet, 7 + len);
    receive(fd, suback, sizeof suback);
    MUST(suback[0] == 0x90 && suback[4] == 0);
}

#endif
