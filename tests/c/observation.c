/* Statistics, clients, subscriptions, kicking, sessions. */
#include "check.h"

static void statistics_count_what_happened(void)
{
    midge_broker *broker = start();
    midge_stats stats = MIDGE_STATS_INIT;
    midge_stat_view view = MIDGE_STAT_VIEW_INIT;
    size_t index;
    int found = 0;
    int fd = client_connect(broker, "client");
    CHECK_STATUS(MIDGE_STATUS_OK, publish_text(broker, "nobody/hears", "x"));
    CHECK_STATUS(MIDGE_STATUS_OK, midge_broker_stats(broker, &stats));
    CHECK(stats.struct_size == sizeof stats && stats.started_unix > 1600000000);
    CHECK(stats.clients_connected == 1 && stats.clients_maximum == 1 && stats.connections_accepted == 1);
    CHECK(stats.messages_published == 1 && stats.messages_dropped_no_subscriber == 1);
    for (index = 0; index < midge_stat_count(); index++) {
        CHECK_STATUS(MIDGE_STATUS_OK, midge_stat_at(&stats, index, &view));
        CHECK(view.name.len > 0 && view.help.len > 0);
        if (bytes_are(view.name, "messages_dropped") || bytes_are(view.name, "clients_connected")) {
            CHECK(view.value == 1);
            CHECK(bytes_are(view.kind, bytes_are(view.name, "messages_dropped") ? "counter" : "gauge"));
            found++;
        }
    }
    CHECK(found == 2);
    CHECK_STATUS(MIDGE_STATUS_INVALID_ARGUMENT, midge_stat_at(&stats, index, &view));
    CHECK_STATUS(MIDGE_STATUS_OK, midge_stat_at(NULL, 0, &view));
    CHECK(view.value == 0);
    close(fd);
    CHECK_STATUS(MIDGE_STATUS_OK, midge_stop(broker, 0));
    CHECK_STATUS(MIDGE_STATUS_OK, midge_broker_stats(broker, &stats));
    CHECK(stats.messages_published == 1);
    midge_broker_free(broker);
}

static void a_shorter_struct_gets_what_it_has_room_for(void)
{
    midge_broker *broker = start();
    midge_stats stats = MIDGE_STATS_INIT;
    stats.struct_size = offsetof(midge_stats, connections_accepted);
    stats.connections_accepted = 4711;
    close(client_connect(broker, "client"));
    CHECK_STATUS(MIDGE_STATUS_OK, midge_broker_stats(broker, &stats));
    CHECK(stats.started_unix > 0 && stats.connections_accepted == 4711);
    midge_broker_free(broker);
}

static void clients_and_subscriptions_are_listed(void)
{
    midge_broker *broker = start();
    midge_clients *clients = NULL;
    midge_subscriptions *subscriptions = NULL;
    midge_client_view client = MIDGE_CLIENT_VIEW_INIT;
    midge_subscription_view subscription = MIDGE_SUBSCRIPTION_VIEW_INIT;
    midge_subscribe_options options = MIDGE_SUBSCRIBE_OPTIONS_INIT;
    midge_queue *queue = NULL;
    midge_subscription *own = NULL;
    size_t index;
    int fd = client_connect(broker, "client-1");
    client_subscribe(fd, "a/+");
    options.identifier = 9;
    options.qos = 1;
    options.no_local = 1;
    options.retain_handling = MIDGE_RETAIN_DO_NOT_SEND;
    MUST(midge_queue_new(broker, NULL, &queue) == MIDGE_STATUS_OK);
    MUST(midge_queue_subscribe(queue, "b/#", &options, 0, &own, NULL) == MIDGE_STATUS_OK);
    CHECK_STATUS(MIDGE_STATUS_OK, midge_broker_clients(broker, &clients));
    MUST(midge_clients_count(clients) == 1);
    CHECK_STATUS(MIDGE_STATUS_OK, midge_clients_at(clients, 0, &client));
    CHECK(bytes_are(client.client_id, "client-1") && client.username.data == NULL);
    CHECK(client.address.len > 10 && memcmp(client.address.data, "127.0.0.1:", 10) == 0);
    CHECK(client.connected == 1 && client.protocol_version == 4 && client.clean_start == 1);
    CHECK(client.keep_alive == 60 && client.subscriptions == 1 && client.connected_since_ms >= 0);
    CHECK_STATUS(MIDGE_STATUS_INVALID_ARGUMENT, midge_clients_at(clients, 1, &client));
    CHECK_STATUS(MIDGE_STATUS_OK, midge_broker_subscriptions(broker, &subscriptions));
    MUST(midge_subscriptions_count(subscriptions) == 2);
    for (index = 0; index < 2; index++) {
        CHECK_STATUS(MIDGE_STATUS_OK, midge_subscriptions_at(subscriptions, index, &subscription));
        if (subscription.client_id.data == NULL) {
            CHECK(bytes_are(subscription.filter, "b/#") && subscription.identifier == 9);
            CHECK(subscription.qos == 1 && subscription.no_local == 1);
            CHECK(subscription.retain_handling == MIDGE_RETAIN_DO_NOT_SEND);
        } else {
            CHECK(bytes_are(subscription.filter, "a/+") && bytes_are(subscription.client_id, "client-1"));
        }
    }
    CHECK_STATUS(MIDGE_STATUS_INVALID_ARGUMENT, midge_subscriptions_at(subscriptions, 2, &subscription));
    midge_subscription_free(own);
    midge_queue_free(queue);
    midge_broker_free(broker);
    /* A list is of its moment, and outlives the broker. */
    CHECK(bytes_are(client.client_id, "client-1"));
    midge_clients_free(clients);
    midge_subscriptions_free(subscriptions);
    close(fd);
}

static void a_client_is_kicked(void)
{
    midge_broker *broker = start();
    int fd = client_connect(broker, "client-1");
    CHECK_STATUS(MIDGE_STATUS_NOT_CONNECTED, midge_broker_kick(broker, "client-2"));
    CHECK_STATUS(MIDGE_STATUS_OK, midge_broker_kick(broker, "client-1"));
    CHECK(is_closed_by_peer(fd));
    CHECK_STATUS(MIDGE_STATUS_NOT_CONNECTED, midge_broker_kick(broker, "client-1"));
    midge_stop(broker, 0);
    CHECK_STATUS(MIDGE_STATUS_STATE, midge_broker_kick(broker, "client-1"));
    midge_broker_free(broker);
}

/* A client that is away, with a subscription of QoS 1 to "t". */
static void a_client_goes_away(midge_broker *broker)
{
    static const unsigned char connect[] = { 0x10, 16, 0, 4, 'M', 'Q', 'T', 'T', 4, 0, 0, 60, 0, 4, 'a', 'w', 'a', 'y' };
    static const unsigned char subscribe[] = { 0x82, 6, 0, 1, 0, 1, 't', 1 };
    static const unsigned char disconnect[] = { 0xe0, 0 };
    unsigned char answers[9];
    int fd = client_dial(broker);
    send_all(fd, connect, sizeof connect);
    send_all(fd, subscribe, sizeof subscribe);
    send_all(fd, disconnect, sizeof disconnect);
    receive(fd, answers, sizeof answers);
    MUST(answers[3] == 0 && answers[8] == 1);
    MUST(is_closed_by_peer(fd));
}

static void the_session_of_a_client_that_is_away_is_managed(void)
{
    midge_broker *broker = start();
    midge_queued *queued = NULL, *none = NULL;
    midge_publish_options options = MIDGE_PUBLISH_OPTIONS_INIT;
    midge_clients *clients = NULL;
    midge_stats stats = MIDGE_STATS_INIT;
    const midge_message *message;
    size_t dropped = 77;
    int fd;
    CHECK_STATUS(MIDGE_STATUS_NO_SESSION, midge_broker_end_session(broker, "away"));
    CHECK_STATUS(MIDGE_STATUS_NO_SESSION, midge_broker_queued(broker, "away", 1, &none));
    CHECK_STATUS(MIDGE_STATUS_NO_SESSION, midge_broker_clear_queue(broker, "away", &dropped));
    CHECK(none == NULL && dropped == 77);
    a_client_goes_away(broker);
    options.qos = 2;
    options.content_type = "text/plain";
    CHECK_STATUS(MIDGE_STATUS_OK, midge_publish(broker, "t", "one", 3, &options));
    CHECK_STATUS(MIDGE_STATUS_OK, midge_publish(broker, "t", "two", 3, &options));
    CHECK_STATUS(MIDGE_STATUS_OK, midge_broker_queued(broker, "away", 1, &queued));
    CHECK_STATUS(MIDGE_STATUS_OK, midge_broker_queued(broker, "away", 0, &none));
    CHECK(midge_queued_count(none) == 0 && midge_queued_count(queued) == 1);
    midge_queued_free(none);
    CHECK_STATUS(MIDGE_STATUS_OK, midge_broker_clear_queue(broker, "away", &dropped));
    CHECK(dropped == 2);
    CHECK_STATUS(MIDGE_STATUS_OK, midge_broker_clear_queue(broker, "away", NULL));
    CHECK_STATUS(MIDGE_STATUS_OK, midge_broker_end_session(broker, "away"));
    CHECK_STATUS(MIDGE_STATUS_NO_SESSION, midge_broker_end_session(broker, "away"));
    CHECK_STATUS(MIDGE_STATUS_OK, midge_broker_stats(broker, &stats));
    CHECK(stats.messages_dropped_cleared == 2 && stats.sessions == 0 && stats.subscriptions == 0);
    fd = client_connect(broker, "here");
    CHECK_STATUS(MIDGE_STATUS_OK, midge_broker_end_session(broker, "here"));
    CHECK(is_closed_by_peer(fd));
    CHECK_STATUS(MIDGE_STATUS_OK, midge_broker_clients(broker, &clients));
    CHECK(midge_clients_count(clients) == 0);
    midge_clients_free(clients);
    midge_stop(broker, 0);
    CHECK_STATUS(MIDGE_STATUS_STATE, midge_broker_end_session(broker, "away"));
    CHECK_STATUS(MIDGE_STATUS_STATE, midge_broker_clear_queue(broker, "away", NULL));
    midge_broker_free(broker);
    /* A list is of its moment, and outlives the broker. */
    message = midge_queued_at(queued, 0);
    CHECK(bytes_are(midge_message_topic(message), "t") && bytes_are(midge_message_payload(message), "one"));
    CHECK(midge_message_qos(message) == 1 && bytes_are(midge_message_content_type(message), "text/plain"));
    CHECK(midge_queued_at(queued, 1) == NULL);
    midge_queued_free(queued);
}

static void retained_messages_are_listed_in_the_order_of_their_topics(void)
{
    midge_broker *broker = start();
    midge_retained *retained = NULL, *none = NULL, *of_broker = NULL;
    midge_publish_options options = MIDGE_PUBLISH_OPTIONS_INIT;
    const midge_message *message;
    midge_message *clone = NULL;
    static char large[20000];
    memset(large, 'x', sizeof large);
    options.retain = 1;
    options.qos = 1;
    options.content_type = "text/plain";
    options.message_expiry_interval = 100;
    CHECK_STATUS(MIDGE_STATUS_OK, midge_publish(broker, "a/2", large, sizeof large, &options));
    CHECK_STATUS(MIDGE_STATUS_OK, midge_publish(broker, "a/1", "one", 3, &options));
    CHECK_STATUS(MIDGE_STATUS_OK, midge_publish(broker, "b", "other", 5, &options));
    CHECK_STATUS(MIDGE_STATUS_OK, midge_broker_retained(broker, "a/+", &retained));
    CHECK_STATUS(MIDGE_STATUS_OK, midge_broker_retained(broker, "a", &none));
    CHECK_STATUS(MIDGE_STATUS_OK, midge_broker_retained(broker, "$SYS/broker/version", &of_broker));
    CHECK(midge_retained_count(none) == 0 && midge_retained_count(of_broker) == 1);
    CHECK_STATUS(MIDGE_STATUS_OK, midge_stop(broker, 0));
    midge_retained_free(none);
    CHECK_STATUS(MIDGE_STATUS_OK, midge_broker_retained(broker, "#", &none));
    CHECK(midge_retained_count(none) == 3);
    midge_broker_free(broker);
    MUST(midge_retained_count(retained) == 2);
    message = midge_retained_at(retained, 0);
    CHECK(bytes_are(midge_message_topic(message), "a/1") && bytes_are(midge_message_payload(message), "one"));
    CHECK(midge_message_qos(message) == 1 && midge_message_retained(message) == 1);
    CHECK(midge_message_expiry_interval(message) > 0 && midge_message_expiry_interval(message) <= 100);
    CHECK(bytes_are(midge_message_content_type(message), "text/plain") && midge_message_tag(message) == 0);
    /* It is the list's. */
    midge_message_free((midge_message *)(size_t)message);
    CHECK(bytes_are(midge_message_payload(message), "one"));
    CHECK_STATUS(MIDGE_STATUS_OK, midge_message_clone(midge_retained_at(retained, 1), &clone));
    CHECK(midge_retained_at(retained, 2) == NULL);
    midge_retained_free(retained);
    CHECK(midge_message_payload(clone).len == sizeof large);
    midge_message_free(clone);
    midge_retained_free(none);
    midge_retained_free(of_broker);
}

int main(void)
{
    RUN(statistics_count_what_happened);
    RUN(a_shorter_struct_gets_what_it_has_room_for);
    RUN(clients_and_subscriptions_are_listed);
    RUN(a_client_is_kicked);
    RUN(the_session_of_a_client_that_is_away_is_managed);
    RUN(retained_messages_are_listed_in_the_order_of_their_topics);
    FINISH();
}
