/* What the programs of this folder share: one thread publishes, one receives, and both are measured.
 *
 *   <program> throughput <bytes> <messages>    messages/s, and CPU nanoseconds of the process for each
 *   <program> waiting <messages>               a thread that waits, 1,000 messages/s: the median in microseconds
 *
 * Nothing may be lost: the publisher rests while WINDOW messages are under way.
 */
#ifndef BENCH_H
#define BENCH_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define WINDOW 4096
#define LOOK_EVERY 256
#define TOPIC "bench/topic"

/* What each program gives. */
static void setup(void);
static void publish(const void *payload, size_t len);
/* Receives some messages, calls `arrived` for each, and returns how many. Waits for the first. */
static size_t receive(void);
/* CPU seconds of other processes that take part. */
static double cpu_of_others(void);

static long wanted;
static volatile long received;
static double *delays;

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static double cpu(void)
{
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    return (double)used.ru_utime.tv_sec + (double)used.ru_utime.tv_usec * 1e-6 + (double)used.ru_stime.tv_sec
        + (double)used.ru_stime.tv_usec * 1e-6 + cpu_of_others();
}

#define MUST(condition)                                                          \
    do {                                                                         \
        if (!(condition)) {                                                      \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);      \
            exit(1);                                                             \
        }                                                                        \
    } while (0)

static void arrived(const void *payload, size_t len)
{
    if (delays != NULL) {
        double sent;
        MUST(len >= sizeof sent);
        memcpy(&sent, payload, sizeof sent);
        delays[received] = seconds() - sent;
    }
}

static void *receive_all(void *unused)
{
    (void)unused;
    pthread_setname_np(pthread_self(), "receiver");
    while (received < wanted) {
        size_t count = receive();
        __atomic_store_n(&received, received + (long)count, __ATOMIC_RELEASE);
    }
    return NULL;
}

static int by_size(const void *a, const void *b)
{
    double left = *(const double *)a, right = *(const double *)b;
    return left < right ? -1 : left > right;
}

static double median(double *values, long count)
{
    qsort(values, (size_t)count, sizeof *values, by_size);
    return values[count / 2];
}

static double system_time(void)
{
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    return (double)used.ru_stime.tv_sec + (double)used.ru_stime.tv_usec * 1e-6;
}

static void throughput(size_t bytes, long messages)
{
    char *payload = (char *)calloc(1, bytes);
    pthread_t receiver;
    double began, used;
    long sent;
    wanted = messages;
    MUST(pthread_create(&receiver, NULL, receive_all, NULL) == 0);
    began = seconds();
    used = cpu();
    for (sent = 0; sent < messages; sent++) {
        if (sent % LOOK_EVERY == 0)
            while (sent - __atomic_load_n(&received, __ATOMIC_ACQUIRE) > WINDOW - LOOK_EVERY) {
                struct timespec rest = { 0, 20000 };
                nanosleep(&rest, NULL);
            }
        publish(payload, bytes);
    }
    pthread_join(receiver, NULL);
    printf("%.0f %.1f", (double)messages / (seconds() - began), (cpu() - used) / (double)messages * 1e9);
    if (getenv("SYSTEM") != NULL)
        printf(" %.1f", system_time() / (double)messages * 1e9);
    printf("\n");
    free(payload);
}

static void waiting(long messages)
{
    pthread_t receiver;
    struct timespec next;
    char payload[64] = { 0 };
    long sent;
    wanted = messages;
    delays = (double *)calloc((size_t)messages, sizeof *delays);
    MUST(pthread_create(&receiver, NULL, receive_all, NULL) == 0);
    clock_gettime(CLOCK_MONOTONIC, &next);
    for (sent = 0; sent < messages; sent++) {
        double now;
        next.tv_nsec += 1000000;
        if (next.tv_nsec >= 1000000000) {
            next.tv_nsec -= 1000000000;
            next.tv_sec++;
        }
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &next, NULL);
        now = seconds();
        memcpy(payload, &now, sizeof now);
        publish(payload, sizeof payload);
    }
    pthread_join(receiver, NULL);
    printf("%.2f\n", median(delays, messages) * 1e6);
}

/* Whether the arguments named one of the measures above. */
static int run_common(int argc, char **argv)
{
    if (argc == 4 && strcmp(argv[1], "throughput") == 0) {
        setup();
        throughput((size_t)atol(argv[2]), atol(argv[3]));
        return 1;
    }
    if (argc == 3 && strcmp(argv[1], "waiting") == 0) {
        setup();
        waiting(atol(argv[2]));
        return 1;
    }
    return 0;
}

#endif
