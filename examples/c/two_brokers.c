/* Two brokers in one program, and a one-way bridge between them: what is published below "shared/" at the first is
 * passed on to the second, properties and all.
 *
 *     cc two_brokers.c $(pkg-config --cflags --libs midge) -o two_brokers
 */
#include <midge.h>
#include <stdio.h>

static midge_broker *start(void)
{
    midge_config *config = NULL;
    midge_broker *broker = NULL;
    midge_error *error = NULL;
    midge_config_new(&config);
    midge_config_set(config, "listener.tcp.bind", "127.0.0.1:0", NULL);
    if (midge_start(config, &broker, &error) != MIDGE_STATUS_OK) {
        fprintf(stderr, "two_brokers: %s\n", midge_error_message(error));
        midge_error_free(error);
    }
    midge_config_free(config);
    return broker;
}

static void pass_on(const midge_message *message, void *to)
{
    midge_publish_message((midge_broker *)to, message, 0);
}

static void print(const midge_message *message, void *user_data)
{
    midge_bytes topic = midge_message_topic(message), payload = midge_message_payload(message);
    (void)user_data;
    printf("the second has %.*s: %.*s\n", (int)topic.len, (const char *)topic.data, (int)payload.len,
           (const char *)payload.data);
}

int main(void)
{
    midge_broker *first = start(), *second = start();
    midge_subscription *bridge = NULL, *reader = NULL;
    int right = 0;
    if (first != NULL && second != NULL
        && midge_subscribe(second, "#", NULL, print, NULL, NULL, &reader, NULL) == MIDGE_STATUS_OK
        && midge_subscribe(first, "shared/#", NULL, pass_on, second, NULL, &bridge, NULL) == MIDGE_STATUS_OK) {
        printf("brokers on %s and %s\n", midge_broker_address(first, NULL), midge_broker_address(second, NULL));
        midge_publish(first, "shared/news", "hello", 5, NULL);
        midge_publish(first, "private/news", "stays here", 10, NULL);
        /* The first is stopped first: its callback has passed everything on when this returns. */
        right = midge_stop(first, 1000) == MIDGE_STATUS_OK && midge_stop(second, 1000) == MIDGE_STATUS_OK;
    }
    midge_subscription_free(bridge);
    midge_subscription_free(reader);
    midge_broker_free(first);
    midge_broker_free(second);
    return right ? 0 : 1;
}
