/* The anchor libzmq: PUB and SUB sockets over inproc. */
#include "bench.h"

#include <zmq.h>

static void *publisher, *subscriber;

static void setup(void)
{
    void *context = zmq_ctx_new();
    int none = 0;
    publisher = zmq_socket(context, ZMQ_PUB);
    subscriber = zmq_socket(context, ZMQ_SUB);
    MUST(zmq_setsockopt(publisher, ZMQ_SNDHWM, &none, sizeof none) == 0);
    MUST(zmq_setsockopt(subscriber, ZMQ_RCVHWM, &none, sizeof none) == 0);
    MUST(zmq_setsockopt(subscriber, ZMQ_SUBSCRIBE, TOPIC, strlen(TOPIC)) == 0);
    MUST(zmq_bind(publisher, "inproc://bench") == 0 && zmq_connect(subscriber, "inproc://bench") == 0);
    /* The subscription travels to the publisher with the first message. */
    for (;;) {
        zmq_msg_t message;
        MUST(zmq_send(publisher, TOPIC, strlen(TOPIC), 0) >= 0);
        zmq_msg_init(&message);
        if (zmq_msg_recv(&message, subscriber, ZMQ_DONTWAIT) >= 0) {
            zmq_msg_close(&message);
            break;
        }
        zmq_msg_close(&message);
        usleep(1000);
    }
    usleep(10000);
    for (;;) {
        char rest[64];
        if (zmq_recv(subscriber, rest, sizeof rest, ZMQ_DONTWAIT) < 0)
            break;
    }
}

/* The topic stands in front of the payload, as users of PUB and SUB have it. */
static void publish(const void *payload, size_t len)
{
    zmq_msg_t message;
    size_t topic = strlen(TOPIC);
    MUST(zmq_msg_init_size(&message, topic + len) == 0);
    memcpy(zmq_msg_data(&message), TOPIC, topic);
    memcpy((char *)zmq_msg_data(&message) + topic, payload, len);
    MUST(zmq_msg_send(&message, publisher, 0) >= 0);
}

static size_t receive(void)
{
    zmq_msg_t message;
    size_t topic = strlen(TOPIC);
    zmq_msg_init(&message);
    MUST(zmq_msg_recv(&message, subscriber, 0) >= 0);
    arrived((const char *)zmq_msg_data(&message) + topic, zmq_msg_size(&message) - topic);
    zmq_msg_close(&message);
    return 1;
}

static double cpu_of_others(void)
{
    return 0;
}

int main(int argc, char **argv)
{
    return run_common(argc, argv) ? 0 : 2;
}
