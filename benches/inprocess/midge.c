/* Midge inside a C program. Beside the measures of bench.h:
 *
 *   midge alone <bytes> <messages>   one thread publishes and takes batches: CPU ns for each message
 *   midge direct <messages>      publish to a direct callback: the median until it is called, and CPU ns for each
 *   midge start <rounds>         microseconds of the first start and stop of the process, and the medians of all
 *   midge memory                 KiB of resident memory that the first started broker adds, how much of it is anonymous
 *                                (the rest are pages of the library's file), and what a second broker adds
 */
#include "bench.h"

#include <midge.h>

static midge_broker *broker;
static midge_queue *queue;

static midge_broker *start(void)
{
    midge_config *config = NULL;
    midge_broker *started = NULL;
    MUST(midge_config_new(&config) == MIDGE_STATUS_OK);
    MUST(midge_config_set(config, "listener.tcp.bind", "127.0.0.1:0", NULL) == MIDGE_STATUS_OK);
    MUST(midge_start(config, &started, NULL) == MIDGE_STATUS_OK);
    midge_config_free(config);
    return started;
}

static void setup(void)
{
    midge_queue_options options = MIDGE_QUEUE_OPTIONS_INIT;
    midge_subscription *subscription = NULL;
    options.capacity = 4 * WINDOW;
    broker = start();
    MUST(midge_queue_new(broker, &options, &queue) == MIDGE_STATUS_OK);
    MUST(midge_queue_subscribe(queue, TOPIC, NULL, 0, &subscription, NULL) == MIDGE_STATUS_OK);
}

static void publish(const void *payload, size_t len)
{
    MUST(midge_publish(broker, TOPIC, payload, len, NULL) == MIDGE_STATUS_OK);
}

static size_t receive(void)
{
    midge_batch *batch = NULL;
    size_t count, stride, index;
    const char *rows;
    MUST(midge_queue_poll(queue, 1024, -1, &batch) == MIDGE_STATUS_OK);
    rows = (const char *)midge_batch_views(batch, &stride, &count);
    for (index = 0; index < count; index++) {
        const midge_message_view *view = (const midge_message_view *)(const void *)(rows + index * stride);
        arrived(view->payload.data, view->payload.len);
    }
    midge_batch_free(batch);
    return count;
}

static double cpu_of_others(void)
{
    return 0;
}

static double called_at;

static void on_message(const midge_message *message, void *user_data)
{
    (void)message;
    (void)user_data;
    called_at = seconds();
}

static void direct(long messages)
{
    midge_subscribe_options options = MIDGE_SUBSCRIBE_OPTIONS_INIT;
    midge_subscription *subscription = NULL;
    char payload[64] = { 0 };
    double used;
    long sent;
    options.direct = 1;
    broker = start();
    MUST(midge_subscribe(broker, TOPIC, &options, on_message, NULL, NULL, &subscription, NULL) == MIDGE_STATUS_OK);
    delays = (double *)calloc((size_t)messages, sizeof *delays);
    used = cpu();
    for (sent = 0; sent < messages; sent++) {
        double now = seconds();
        publish(payload, sizeof payload);
        delays[sent] = called_at - now;
    }
    used = cpu() - used;
    printf("%.3f %.1f\n", median(delays, messages) * 1e6, used / (double)messages * 1e9);
}

static void alone(size_t bytes, long messages)
{
    char *payload = (char *)calloc(1, bytes);
    double used;
    long sent;
    setup();
    used = cpu();
    for (sent = 0; sent < messages; sent++) {
        publish(payload, bytes);
        if (sent % LOOK_EVERY == LOOK_EVERY - 1)
            MUST(receive() == LOOK_EVERY);
    }
    printf("%.1f\n", (cpu() - used) / (double)messages * 1e9);
    free(payload);
}

static void start_and_stop(long rounds)
{
    double *starts = (double *)calloc((size_t)rounds, sizeof *starts);
    double *stops = (double *)calloc((size_t)rounds, sizeof *stops);
    double first_start, first_stop;
    long round;
    for (round = 0; round < rounds; round++) {
        midge_config *config = NULL;
        double began;
        MUST(midge_config_new(&config) == MIDGE_STATUS_OK);
        MUST(midge_config_set(config, "listener.tcp.bind", "127.0.0.1:0", NULL) == MIDGE_STATUS_OK);
        began = seconds();
        MUST(midge_start(config, &broker, NULL) == MIDGE_STATUS_OK);
        starts[round] = seconds() - began;
        midge_config_free(config);
        usleep(2000);
        began = seconds();
        MUST(midge_stop(broker, -1) == MIDGE_STATUS_OK);
        stops[round] = seconds() - began;
        midge_broker_free(broker);
    }
    first_start = starts[0];
    first_stop = stops[0];
    printf("%.0f %.0f ", first_start * 1e6, first_stop * 1e6);
    printf("%.0f %.0f\n", median(starts, rounds) * 1e6, median(stops, rounds) * 1e6);
}

typedef struct memory {
    long resident;
    long anonymous;
} memory;

/* In KiB. */
static memory measure_memory(void)
{
    long total, resident, of_files, page = sysconf(_SC_PAGESIZE) / 1024;
    memory found;
    FILE *file = fopen("/proc/self/statm", "r");
    MUST(file != NULL && fscanf(file, "%ld %ld %ld", &total, &resident, &of_files) == 3);
    fclose(file);
    found.resident = resident * page;
    found.anonymous = (resident - of_files) * page;
    return found;
}

static void memory_of_brokers(void)
{
    memory none = measure_memory(), one, two;
    broker = start();
    usleep(20000);
    one = measure_memory();
    start();
    usleep(20000);
    two = measure_memory();
    printf("%ld %ld %ld\n", one.resident - none.resident, one.anonymous - none.anonymous,
           two.resident - one.resident);
}

int main(int argc, char **argv)
{
    if (run_common(argc, argv))
        return 0;
    if (argc == 3 && strcmp(argv[1], "direct") == 0) {
        direct(atol(argv[2]));
    } else if (argc == 4 && strcmp(argv[1], "alone") == 0) {
        alone((size_t)atol(argv[2]), atol(argv[3]));
    } else if (argc == 3 && strcmp(argv[1], "start") == 0) {
        start_and_stop(atol(argv[2]));
    } else if (argc == 2 && strcmp(argv[1], "memory") == 0) {
        memory_of_brokers();
    } else {
        fprintf(stderr, "midge throughput|waiting|alone|direct|start|memory ...\n");
        return 2;
    }
    return 0;
}
