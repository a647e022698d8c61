/* The anchor mosquitto: libmosquitto at QoS 0 through a mosquitto on loopback. The environment names its port (PORT)
 * and process (PID), whose CPU time counts, too. */
#include "bench.h"

#include <mosquitto.h>

static struct mosquitto *publisher, *subscriber;
static size_t just_received;
static volatile int subscribed;

static void on_message(struct mosquitto *client, void *unused, const struct mosquitto_message *message)
{
    (void)client;
    (void)unused;
    arrived(message->payload, (size_t)message->payloadlen);
    just_received++;
}

static void on_subscribe(struct mosquitto *client, void *unused, int id, int count, const int *granted)
{
    (void)client;
    (void)unused;
    (void)id;
    (void)count;
    (void)granted;
    subscribed = 1;
}

static struct mosquitto *client(void)
{
    struct mosquitto *made = mosquitto_new(NULL, true, NULL);
    MUST(made != NULL && mosquitto_int_option(made, MOSQ_OPT_TCP_NODELAY, 1) == MOSQ_ERR_SUCCESS);
    MUST(mosquitto_connect(made, "127.0.0.1", atoi(getenv("PORT")), 60) == MOSQ_ERR_SUCCESS);
    return made;
}

static void setup(void)
{
    mosquitto_lib_init();
    subscriber = client();
    mosquitto_message_callback_set(subscriber, on_message);
    mosquitto_subscribe_callback_set(subscriber, on_subscribe);
    MUST(mosquitto_subscribe(subscriber, NULL, TOPIC, 0) == MOSQ_ERR_SUCCESS);
    while (!subscribed)
        MUST(mosquitto_loop(subscriber, 1000, 1) == MOSQ_ERR_SUCCESS);
    publisher = client();
    MUST(mosquitto_loop_start(publisher) == MOSQ_ERR_SUCCESS);
}

static void publish(const void *payload, size_t len)
{
    MUST(mosquitto_publish(publisher, NULL, TOPIC, (int)len, payload, 0, false) == MOSQ_ERR_SUCCESS);
}

static size_t receive(void)
{
    just_received = 0;
    while (just_received == 0)
        MUST(mosquitto_loop(subscriber, 1000, 1000) == MOSQ_ERR_SUCCESS);
    return just_received;
}

static double cpu_of_others(void)
{
    char path[64], text[1024];
    unsigned long user, system;
    FILE *file;
    size_t len;
    snprintf(path, sizeof path, "/proc/%s/stat", getenv("PID"));
    file = fopen(path, "r");
    MUST(file != NULL);
    len = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    text[len] = '\0';
    MUST(sscanf(strrchr(text, ')') + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system) == 2);
    return (double)(user + system) / (double)sysconf(_SC_CLK_TCK);
}

int main(int argc, char **argv)
{
    return run_common(argc, argv) ? 0 : 2;
}
