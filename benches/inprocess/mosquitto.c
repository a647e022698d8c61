/* The anchor mosquitto: libmosquitto through a mosquitto on loopback, whose port and process the environment names
 * (PORT, PID). QoS 0. */
#include "bench.h"

#include <mosquitto.h>

static struct mosquitto *publisher, *subscriber;
static size_t now_received;
static event_is_ready;

static void on_message(struct mosquitto *client, void *unused, const struct mosquitto_message *message)
{
    (void)client;
    (void)unused;
    arrived(message->payload, (size_t)message->payloadlen);
    __atomic_store_n(&received, received + 1, __ATOMIC_RELEASE);
}
