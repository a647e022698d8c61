/* A queue: one thread publishes readings, this one takes them out in batches.
 *
 *     cc queue.c $(pkg-config --cflags --libs midge) -pthread -o queue
 */
#include <midge.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

static void *publish(void *argument)
{
    midge_broker *broker = (midge_broker *)argument;
    midge_publish_options options = MIDGE_PUBLISH_OPTIONS_INIT;
    char payload[32];
    int number;
    options.content_type = "text/plain";
    for (number = 1; number <= 1000; number++) {
        snprintf(payload, sizeof payload, "reading %d", number);
        midge_publish(broker, "readings/north", payload, strlen(payload), &options);
    }
    midge_stop(broker, -1); /* ends the queue, too */
    return NULL;
}

int main(void)
{
    midge_config *config = NULL;
    midge_broker *broker = NULL;
    midge_queue *queue = NULL;
    midge_subscription *subscription = NULL;
    midge_batch *batch = NULL;
    midge_error *error = NULL;
    pthread_t thread;
    size_t messages = 0, batches = 0;

    midge_config_new(&config);
    midge_config_set(config, "listener.tcp.bind", "127.0.0.1:0", NULL);
    if (midge_start(config, &broker, &error) != MIDGE_STATUS_OK) {
        fprintf(stderr, "queue: %s\n", midge_error_message(error));
        midge_error_free(error);
        midge_config_free(config);
        return 1;
    }
    midge_queue_new(broker, NULL, &queue);
    midge_queue_subscribe(queue, "readings/+", NULL, 0, &subscription, NULL);
    pthread_create(&thread, NULL, publish, broker);

    while (midge_queue_poll(queue, 256, -1, &batch) == MIDGE_STATUS_OK) {
        size_t index;
        for (index = 0; index < midge_batch_count(batch); index++) {
            midge_bytes payload = midge_message_payload(midge_batch_at(batch, index));
            if (++messages == 1000)
                printf("the last one: %.*s\n", (int)payload.len, (const char *)payload.data);
        }
        batches++;
        midge_batch_free(batch);
    }
    printf("%lu messages in %s\n", (unsigned long)messages, batches == 1 ? "one batch" : "several batches");

    pthread_join(thread, NULL);
    midge_subscription_free(subscription);
    midge_queue_free(queue);
    midge_broker_free(broker);
    midge_config_free(config);
    return messages == 1000 ? 0 : 1;
}
