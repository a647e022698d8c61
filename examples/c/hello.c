/* A broker inside a C program: start, subscribe, publish, stop.
 *
 *     cc hello.c $(pkg-config --cflags --libs midge) -o hello
 */
#include <midge.h>
#include <stdio.h>

static void print(const midge_message *message, void *user_data)
{
    midge_bytes topic = midge_message_topic(message), payload = midge_message_payload(message);
    (void)user_data;
    printf("%.*s: %.*s\n", (int)topic.len, (const char *)topic.data, (int)payload.len, (const char *)payload.data);
}

int main(void)
{
    midge_config *config = NULL;
    midge_broker *broker = NULL;
    midge_subscription *subscription = NULL;
    midge_error *error = NULL;
    int failed;

    midge_config_new(&config);
    midge_config_set(config, "listener.tcp.bind", "127.0.0.1:0", NULL); /* port 0: any free one */
    if (midge_start(config, &broker, &error) == MIDGE_STATUS_OK
        && midge_subscribe(broker, "sensors/#", NULL, print, NULL, NULL, &subscription, &error) == MIDGE_STATUS_OK) {
        printf("listening on %s\n", midge_broker_address(broker, NULL));
        midge_publish(broker, "sensors/kitchen", "21.5", 4, NULL);
        midge_stop(broker, 1000); /* the callback has had its message when this returns */
    }
    failed = error != NULL;
    if (failed)
        fprintf(stderr, "hello: %s\n", midge_error_message(error));
    midge_subscription_free(subscription);
    midge_broker_free(broker);
    midge_config_free(config);
    midge_error_free(error);
    return failed;
}
