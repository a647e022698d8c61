/* A program outside of Midge's tree, in C: a broker without a port, and one message. */
#include <midge.h>

#include <stdio.h>
#include <string.h>

int main(void)
{
    midge_config *config = NULL;
    midge_broker *broker = NULL;
    midge_queue *queue = NULL;
    midge_subscription *subscription = NULL;
    midge_batch *batch = NULL;
    midge_error *error = NULL;
    midge_bytes payload;
    int right;

    if (midge_config_new(&config) != MIDGE_STATUS_OK)
        return 1;
    if (midge_config_set(config, "listener.tcp.bind", "off", &error) != MIDGE_STATUS_OK ||
        midge_start(config, &broker, &error) != MIDGE_STATUS_OK) {
        fprintf(stderr, "%s\n", midge_error_message(error));
        return 1;
    }
    midge_config_free(config);
    if (midge_queue_new(broker, NULL, &queue) != MIDGE_STATUS_OK ||
        midge_queue_subscribe(queue, "greeting/#", NULL, 0, &subscription, NULL) != MIDGE_STATUS_OK ||
        midge_publish(broker, "greeting/c", "hello", 5, NULL) != MIDGE_STATUS_OK ||
        midge_queue_poll(queue, 1, 10000, &batch) != MIDGE_STATUS_OK)
        return 1;
    payload = midge_message_payload(midge_batch_at(batch, 0));
    right = payload.len == 5 && memcmp(payload.data, "hello", 5) == 0 && strcmp(midge_version(), MIDGE_VERSION) == 0;
    midge_batch_free(batch);
    midge_subscription_free(subscription);
    midge_queue_free(queue);
    midge_broker_free(broker);
    puts(right ? "hello from C" : "wrong");
    return right ? 0 : 1;
}
