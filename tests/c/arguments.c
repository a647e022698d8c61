/* Every function with NULL and with numbers out of range: an answer, never a crash, and no output. A test of
 * tests/header.rs checks that no function of the header is missing here. */
#include "check.h"

#define INVALID(call) CHECK_STATUS(MIDGE_STATUS_INVALID_ARGUMENT, call)

static void ignore(const midge_message *message, void *user_data)
{
    (void)message;
    (void)user_data;
}

static void texts_of_any_number(void)
{
    int32_t status;
    CHECK(midge_version()[0] != '\0');
    for (status = -20; status < 20; status++)
        CHECK(midge_status_name(status)[0] != '\0' && midge_status_help(status)[0] != '\0');
    CHECK(strcmp(midge_status_name(INT32_MIN), "UNKNOWN") == 0);
    CHECK(strcmp(midge_status_name(MIDGE_STATUS_ADDRESS_IN_USE), "ADDRESS_IN_USE") == 0);
    CHECK(midge_error_message(NULL) == NULL);
    INVALID(midge_error_code(NULL));
    midge_error_free(NULL);
    midge_string_free(NULL);
}

static void configurations(void)
{
    midge_config *config = NULL, *copy = NULL;
    midge_setting_view view = MIDGE_SETTING_VIEW_INIT;
    midge_error *error = NULL;
    char *text = NULL;
    INVALID(midge_config_new(NULL));
    MUST(midge_config_new(&config) == MIDGE_STATUS_OK);
    INVALID(midge_config_clone(NULL, &copy));
    INVALID(midge_config_clone(config, NULL));
    INVALID(midge_config_set(NULL, "a", "b", NULL));
    INVALID(midge_config_set(config, NULL, "b", &error));
    CHECK(error_is(error, MIDGE_STATUS_INVALID_ARGUMENT, "key: is NULL"));
    INVALID(midge_config_set(config, "a", NULL, NULL));
    INVALID(midge_config_load_file(NULL, "a", NULL));
    INVALID(midge_config_load_file(config, NULL, NULL));
    INVALID(midge_config_load_text(NULL, "", "", NULL));
    INVALID(midge_config_load_text(config, NULL, "", NULL));
    INVALID(midge_config_load_text(config, "", NULL, NULL));
    INVALID(midge_config_get(NULL, "a", &text, NULL));
    INVALID(midge_config_get(config, NULL, &text, NULL));
    INVALID(midge_config_get(config, "mqtt.max_qos", NULL, NULL));
    CHECK(midge_config_key_count(NULL) == 0 && midge_config_key_at(NULL, 0) == NULL);
    CHECK(midge_setting_count() > 0);
    INVALID(midge_setting_at(0, NULL));
    INVALID(midge_setting_at((size_t)-1, &view));
    view.struct_size = 0;
    INVALID(midge_setting_at(0, &view));
    CHECK(copy == NULL && text == NULL && view.key.data == NULL);
    midge_config_free(config);
    midge_config_free(NULL);
}

static void brokers(void)
{
    midge_broker *broker = start();
    midge_listener_view listener = MIDGE_LISTENER_VIEW_INIT;
    midge_queued *queued = NULL;
    midge_stats stats = MIDGE_STATS_INIT;
    midge_stat_view stat = MIDGE_STAT_VIEW_INIT;
    midge_storage_stats storage = MIDGE_STORAGE_STATS_INIT;
    midge_error *error = NULL;
    char *text = NULL;
    INVALID(midge_start(NULL, NULL, &error));
    CHECK(error_is(error, MIDGE_STATUS_INVALID_ARGUMENT, "out: is NULL"));
    INVALID(midge_stop(NULL, 0));
    INVALID(midge_broker_request_stop(NULL));
    INVALID(midge_broker_wait(NULL, 0));
    CHECK(midge_broker_address(NULL, NULL) == NULL && midge_broker_address(broker, "\xff") == NULL);
    CHECK(midge_broker_console_address(NULL) == NULL && midge_broker_console_address(broker) == NULL);
    CHECK(midge_broker_listener_count(NULL) == 0);
    INVALID(midge_broker_listener_at(NULL, 0, &listener));
    INVALID(midge_broker_listener_at(broker, 1, &listener));
    INVALID(midge_broker_listener_at(broker, 0, NULL));
    INVALID(midge_broker_adopt_fd(NULL, 0, NULL, NULL));
    INVALID(midge_broker_adopt_fd(broker, -1, NULL, &error));
    CHECK(error_is(error, MIDGE_STATUS_INVALID_ARGUMENT, "fd: is less than 0"));
    INVALID(midge_broker_adopt_fd(broker, INT32_MIN, NULL, NULL));
    INVALID(midge_broker_adopt_fd(broker, 1000000, NULL, &error));
    CHECK(error_is(error, MIDGE_STATUS_INVALID_ARGUMENT, "socket: is not open"));
    INVALID(midge_broker_adopt_fd(broker, 0, "nobody", &error));
    CHECK(error_is(error, MIDGE_STATUS_INVALID_ARGUMENT, "no listener \"nobody\""));
    INVALID(midge_broker_adopt_fd(broker, 0, "\xff", NULL));
    INVALID(midge_broker_kick(NULL, "a"));
    INVALID(midge_broker_kick(broker, NULL));
    INVALID(midge_broker_kick(broker, "\xff"));
    INVALID(midge_broker_backup(NULL, "a", NULL));
    INVALID(midge_broker_backup(broker, NULL, &error));
    CHECK(error_is(error, MIDGE_STATUS_INVALID_ARGUMENT, "path: is NULL"));
    INVALID(midge_broker_backup(broker, "\xff", NULL));
    INVALID(midge_broker_reload_certificates(NULL, &error));
    CHECK(error_is(error, MIDGE_STATUS_INVALID_ARGUMENT, "broker: is NULL"));
    INVALID(midge_broker_reload_access(NULL, &error));
    CHECK(error_is(error, MIDGE_STATUS_INVALID_ARGUMENT, "broker: is NULL"));
    INVALID(midge_broker_end_session(NULL, "a"));
    INVALID(midge_broker_end_session(broker, NULL));
    INVALID(midge_broker_end_session(broker, "\xff"));
    INVALID(midge_broker_queued(NULL, "a", 1, &queued));
    INVALID(midge_broker_queued(broker, NULL, 1, &queued));
    INVALID(midge_broker_queued(broker, "a", 1, NULL));
    INVALID(midge_broker_clear_queue(NULL, "a", NULL));
    INVALID(midge_broker_clear_queue(broker, NULL, NULL));
    CHECK(queued == NULL && midge_queued_count(NULL) == 0 && midge_queued_at(NULL, 0) == NULL);
    midge_queued_free(NULL);
    INVALID(midge_broker_storage(NULL, &storage));
    INVALID(midge_broker_storage(broker, NULL));
    INVALID(midge_broker_storage_trouble(NULL, &text));
    INVALID(midge_broker_storage_trouble(broker, NULL));
    INVALID(midge_broker_stats(NULL, &stats));
    INVALID(midge_broker_stats(broker, NULL));
    stats.struct_size = 3;
    INVALID(midge_broker_stats(broker, &stats));
    INVALID(midge_stat_at(&stats, 0, &stat));
    INVALID(midge_stat_at(NULL, 0, NULL));
    INVALID(midge_stat_at(NULL, midge_stat_count(), &stat));
    CHECK(listener.name.data == NULL && stat.name.data == NULL && stats.started_unix == 0);
    CHECK_STATUS(MIDGE_STATUS_OK, midge_stop(broker, INT32_MAX));
    CHECK_STATUS(MIDGE_STATUS_OK, midge_stop(broker, INT32_MIN));
    midge_broker_free(broker);
    midge_broker_free(NULL);
}

static void listeners(void)
{
    midge_broker *broker = start();
    midge_config *config = NULL;
    midge_listeners *listeners = NULL;
    midge_listener_view view = MIDGE_LISTENER_VIEW_INIT;
    midge_handshake_failure_view failure = MIDGE_HANDSHAKE_FAILURE_VIEW_INIT;
    midge_adopt_options options = MIDGE_ADOPT_OPTIONS_INIT;
    MUST(midge_config_new(&config) == MIDGE_STATUS_OK);
    INVALID(midge_broker_listener_add(NULL, "lan", config, NULL));
    INVALID(midge_broker_listener_add(broker, NULL, config, NULL));
    INVALID(midge_broker_listener_add(broker, "\xff", config, NULL));
    INVALID(midge_broker_listener_add(broker, "lan", NULL, NULL));
    INVALID(midge_broker_listener_stop(NULL, "tcp", MIDGE_CONNECTIONS_KEEP, NULL));
    INVALID(midge_broker_listener_stop(broker, NULL, MIDGE_CONNECTIONS_KEEP, NULL));
    INVALID(midge_broker_listener_stop(broker, "tcp", -1, NULL));
    INVALID(midge_broker_listener_stop(broker, "tcp", INT32_MAX, NULL));
    INVALID(midge_broker_listener_pause(NULL, "tcp", NULL));
    INVALID(midge_broker_listener_pause(broker, NULL, NULL));
    INVALID(midge_broker_listener_resume(NULL, "tcp", NULL));
    INVALID(midge_broker_listener_resume(broker, NULL, NULL));
    INVALID(midge_broker_listeners(NULL, &listeners));
    INVALID(midge_broker_listeners(broker, NULL));
    CHECK(listeners == NULL && midge_listeners_count(NULL) == 0);
    INVALID(midge_listeners_at(NULL, 0, &view));
    INVALID(midge_listeners_failure_at(NULL, 0, 0, &failure));
    MUST(midge_broker_listeners(broker, &listeners) == MIDGE_STATUS_OK);
    INVALID(midge_listeners_at(listeners, 1, &view));
    INVALID(midge_listeners_at(listeners, 0, NULL));
    INVALID(midge_listeners_failure_at(listeners, 1, 0, &failure));
    INVALID(midge_listeners_failure_at(listeners, 0, 0, &failure));
    midge_listeners_free(listeners);
    midge_listeners_free(NULL);
    INVALID(midge_broker_adopt_fd_with(NULL, 0, NULL, NULL));
    INVALID(midge_broker_adopt_fd_with(broker, -1, NULL, NULL));
    options.transport = "none";
    INVALID(midge_broker_adopt_fd_with(broker, 0, &options, NULL));
    options.struct_size = 1;
    INVALID(midge_broker_adopt_fd_with(broker, 0, &options, NULL));
    midge_config_free(config);
    midge_broker_free(broker);
}

static void lists(void)
{
    midge_broker *broker = start();
    midge_clients *clients = NULL;
    midge_retained *retained = NULL;
    midge_subscriptions *subscriptions = NULL;
    midge_client_view client = MIDGE_CLIENT_VIEW_INIT;
    midge_subscription_view subscription = MIDGE_SUBSCRIPTION_VIEW_INIT;
    INVALID(midge_broker_clients(NULL, &clients));
    INVALID(midge_broker_clients(broker, NULL));
    INVALID(midge_broker_subscriptions(NULL, &subscriptions));
    INVALID(midge_broker_subscriptions(broker, NULL));
    INVALID(midge_broker_retained(NULL, "a", &retained));
    INVALID(midge_broker_retained(broker, NULL, &retained));
    INVALID(midge_broker_retained(broker, "a", NULL));
    INVALID(midge_broker_retained(broker, "$share/group/a", &retained));
    CHECK_STATUS(MIDGE_STATUS_TOPIC, midge_broker_retained(broker, "a+", &retained));
    CHECK_STATUS(MIDGE_STATUS_TOPIC, midge_broker_retained(broker, "\xff", &retained));
    CHECK(midge_retained_count(NULL) == 0 && midge_retained_at(NULL, 0) == NULL);
    CHECK(clients == NULL && subscriptions == NULL && retained == NULL);
    midge_retained_free(NULL);
    CHECK(midge_clients_count(NULL) == 0 && midge_subscriptions_count(NULL) == 0);
    INVALID(midge_clients_at(NULL, 0, &client));
    INVALID(midge_subscriptions_at(NULL, 0, &subscription));
    MUST(midge_broker_clients(broker, &clients) == MIDGE_STATUS_OK);
    MUST(midge_broker_subscriptions(broker, &subscriptions) == MIDGE_STATUS_OK);
    INVALID(midge_clients_at(clients, 0, &client));
    INVALID(midge_subscriptions_at(subscriptions, 0, &subscription));
    midge_clients_free(clients);
    midge_clients_free(NULL);
    midge_subscriptions_free(subscriptions);
    midge_subscriptions_free(NULL);
    midge_broker_free(broker);
}

static void count_free(void *user_data)
{
    ++*(int *)user_data;
}

static void never(midge_status status, void *user_data)
{
    (void)user_data;
    CHECK_STATUS(INT32_MAX, status);
}

static void publishing(void)
{
    midge_broker *broker = start();
    const char *topics[] = { "a", NULL };
    const void *payloads[] = { "b", NULL };
    const size_t lens[] = { 1, 0 }, large[] = { (size_t)-1, 0 };
    midge_publish_options options = MIDGE_PUBLISH_OPTIONS_INIT;
    size_t published = 77;
    int freed = 0;
    INVALID(midge_publish(NULL, "a", "b", 1, NULL));
    INVALID(midge_publish(broker, NULL, "b", 1, NULL));
    INVALID(midge_publish(broker, "a", NULL, 1, NULL));
    CHECK(midge_publish_counted(NULL, "a", "b", 1, NULL) == MIDGE_STATUS_INVALID_ARGUMENT);
    CHECK(midge_publish_counted(broker, NULL, "b", 1, NULL) == MIDGE_STATUS_INVALID_ARGUMENT);
    CHECK(midge_publish_counted(broker, "a", NULL, 1, NULL) == MIDGE_STATUS_INVALID_ARGUMENT);
    INVALID(midge_topic_check(NULL, NULL));
    INVALID(midge_filter_check(NULL, NULL));
    INVALID(midge_publish_many(NULL, topics, payloads, lens, 1, NULL, &published));
    CHECK(published == 0);
    INVALID(midge_publish_many(broker, NULL, payloads, lens, 1, NULL, &published));
    INVALID(midge_publish_many(broker, topics, NULL, lens, 1, NULL, &published));
    INVALID(midge_publish_many(broker, topics, payloads, NULL, 1, NULL, &published));
    INVALID(midge_publish_many(broker, topics, payloads, large, 1, NULL, &published));
    INVALID(midge_publish_many(broker, topics, payloads, lens, (size_t)-1, NULL, NULL));
    options.qos = 3;
    INVALID(midge_publish_many(broker, topics, payloads, lens, 1, &options, &published));
    CHECK(published == 0);
    INVALID(midge_publish_many(broker, topics, payloads, lens, 2, NULL, &published));
    CHECK(published == 1);
    INVALID(midge_publish_owned(NULL, "a", "b", 1, count_free, &freed, NULL));
    INVALID(midge_publish_owned(broker, NULL, "b", 1, count_free, &freed, NULL));
    INVALID(midge_publish_owned(broker, "a", NULL, 1, count_free, &freed, NULL));
    INVALID(midge_publish_owned(broker, "a", "b", (size_t)-1, count_free, &freed, NULL));
    CHECK(freed == 4);
    CHECK_STATUS(MIDGE_STATUS_TOPIC, midge_publish_owned(broker, "#", "b", 1, count_free, &freed, NULL));
    CHECK_STATUS(MIDGE_STATUS_TOPIC, midge_publish_owned(broker, "\xff", "b", 1, count_free, &freed, NULL));
    CHECK(freed == 6);
    INVALID(midge_publish_owned(broker, "a", "b", 1, count_free, &freed, &options));
    CHECK(freed == 7);
    INVALID(midge_publish_owned(broker, "a", "b", 1, NULL, NULL, &options));
    INVALID(midge_publish_acknowledged(broker, "a", "b", 1, &options, -1));
    INVALID(midge_publish_acknowledged(NULL, "a", "b", 1, NULL, 0));
    INVALID(midge_publish_acknowledged(broker, NULL, "b", 1, NULL, 0));
    INVALID(midge_publish_acknowledged(broker, "a", NULL, 1, NULL, 0));
    CHECK_STATUS(MIDGE_STATUS_TOPIC, midge_publish_acknowledged(broker, "a\xff", "b", 1, NULL, 0));
    INVALID(midge_publish_with_callback(NULL, "a", "b", 1, NULL, never, &freed, count_free));
    INVALID(midge_publish_with_callback(broker, NULL, "b", 1, NULL, never, &freed, count_free));
    INVALID(midge_publish_with_callback(broker, "a", NULL, 1, NULL, never, &freed, count_free));
    INVALID(midge_publish_with_callback(broker, "a", "b", 1, NULL, NULL, &freed, count_free));
    INVALID(midge_publish_with_callback(broker, "a", "b", 1, &options, never, &freed, count_free));
    CHECK(freed == 12);
    CHECK_STATUS(MIDGE_STATUS_TOPIC, midge_publish_with_callback(broker, "", "b", 1, NULL, never, NULL, NULL));
    INVALID(midge_publish_message(broker, NULL, 0));
    INVALID(midge_publish_message(NULL, NULL, 0));
    midge_broker_free(broker);
}

static void subscribing(void)
{
    midge_broker *broker = start();
    midge_subscription *subscription = NULL;
    midge_subscribe_options options;
    const midge_subscribe_options fresh = MIDGE_SUBSCRIBE_OPTIONS_INIT;
#define REFUSED()                                                                              \
    do {                                                                                       \
        INVALID(midge_subscribe(broker, "a", &options, ignore, NULL, NULL, &subscription, NULL)); \
        options = fresh;                                                                       \
    } while (0)
    options = fresh;
    INVALID(midge_subscribe(NULL, "a", NULL, ignore, NULL, NULL, &subscription, NULL));
    INVALID(midge_subscribe(broker, NULL, NULL, ignore, NULL, NULL, &subscription, NULL));
    INVALID(midge_subscribe(broker, "a", NULL, NULL, NULL, NULL, &subscription, NULL));
    INVALID(midge_subscribe(broker, "a", NULL, ignore, NULL, NULL, NULL, NULL));
    options.qos = 3;
    REFUSED();
    options.qos = INT32_MIN;
    REFUSED();
    options.no_local = 2;
    REFUSED();
    options.retain_as_published = -1;
    REFUSED();
    options.retain_handling = 3;
    REFUSED();
    options.identifier = -1;
    REFUSED();
    options.identifier = 268435456;
    REFUSED();
    options.identifier = INT64_MAX;
    REFUSED();
    options.direct = 2;
    REFUSED();
    options.direct = -1;
    REFUSED();
    options.reserved = 1;
    REFUSED();
    options.struct_size = 12;
    REFUSED();
    options.no_local = 1;
    INVALID(midge_subscribe(broker, "$share/group/a", &options, ignore, NULL, NULL, &subscription, NULL));
    CHECK(subscription == NULL);
    CHECK_STATUS(MIDGE_STATUS_OK, publish_text(broker, "a", "nobody subscribed"));
    midge_subscription_free(NULL);
    midge_broker_free(broker);
}

static void queues(void)
{
    midge_broker *broker = start();
    midge_queue *queue = NULL, *none = NULL;
    midge_subscription *subscription = NULL;
    midge_batch *batch = NULL;
    midge_queue_options options = MIDGE_QUEUE_OPTIONS_INIT;
    midge_subscribe_options direct = MIDGE_SUBSCRIBE_OPTIONS_INIT;
    size_t stride = 9, count = 9;
    int32_t fd = -5;
    INVALID(midge_queue_new(NULL, NULL, &none));
    INVALID(midge_queue_new(broker, NULL, NULL));
    options.overflow = 2;
    INVALID(midge_queue_new(broker, &options, &none));
    options.overflow = -1;
    INVALID(midge_queue_new(broker, &options, &none));
    options.overflow = 0;
    options.reserved = 1;
    INVALID(midge_queue_new(broker, &options, &none));
    options.reserved = 0;
    options.capacity = (size_t)-1;
    options.max_bytes = (size_t)-1;
    MUST(midge_queue_new(broker, &options, &queue) == MIDGE_STATUS_OK);
    INVALID(midge_queue_subscribe(NULL, "a", NULL, 0, &subscription, NULL));
    INVALID(midge_queue_subscribe(queue, NULL, NULL, 0, &subscription, NULL));
    INVALID(midge_queue_subscribe(queue, "a", NULL, 0, NULL, NULL));
    direct.direct = 1;
    INVALID(midge_queue_subscribe(queue, "a", &direct, 0, &subscription, NULL));
    CHECK_STATUS(MIDGE_STATUS_TOPIC, midge_queue_subscribe(queue, "a+", NULL, 0, &subscription, NULL));
    INVALID(midge_queue_poll(NULL, 1, 0, &batch));
    INVALID(midge_queue_poll(queue, 0, 0, &batch));
    INVALID(midge_queue_poll(queue, 1, 0, NULL));
    INVALID(midge_queue_fd(NULL, &fd));
    INVALID(midge_queue_fd(queue, NULL));
    INVALID(midge_queue_close(NULL));
    CHECK(midge_queue_len(NULL) == 0 && midge_queue_dropped(NULL) == 0);
    CHECK(none == NULL && subscription == NULL && batch == NULL && fd == -5);
    CHECK(midge_batch_count(NULL) == 0 && midge_batch_at(NULL, 0) == NULL);
    CHECK(midge_batch_views(NULL, &stride, &count) == NULL && count == 0 && stride == sizeof(midge_message_view));
    CHECK(midge_batch_bytes(NULL).data == NULL);
    midge_batch_free(NULL);
    midge_queue_free(queue);
    midge_queue_free(NULL);
    midge_broker_free(broker);
}

static void messages(void)
{
    midge_message *clone = NULL;
    midge_bytes name = MIDGE_BYTES_INIT, value = MIDGE_BYTES_INIT;
    size_t count = 0;
    uint32_t identifier = 0;
    CHECK(midge_message_topic(NULL).data == NULL && midge_message_payload(NULL).data == NULL);
    CHECK(midge_message_qos(NULL) == -1 && midge_message_retained(NULL) == -1);
    CHECK(midge_message_tag(NULL) == 0 && midge_message_expiry_interval(NULL) == -1);
    CHECK(midge_message_payload_is_text(NULL) == -1 && midge_message_content_type(NULL).data == NULL);
    CHECK(midge_message_response_topic(NULL).data == NULL && midge_message_correlation_data(NULL).data == NULL);
    CHECK(midge_message_user_property_count(NULL) == 0);
    INVALID(midge_message_user_property_at(NULL, 0, &name, &value));
    CHECK(midge_message_subscription_identifier_count(NULL) == 0);
    INVALID(midge_message_user_properties(NULL, 1, &name, &value, &count));
    INVALID(midge_message_subscription_identifiers(NULL, 1, &identifier, &count));
    CHECK(midge_message_subscription_identifier_at(NULL, 0) == 0);
    INVALID(midge_message_clone(NULL, &clone));
    CHECK(clone == NULL && name.data == NULL && value.data == NULL);
    midge_message_free(NULL);
}

static int32_t let_in(const midge_connect_request *request, midge_decision *decision, void *user_data)
{
    (void)request;
    (void)decision;
    (void)user_data;
    return MIDGE_ALLOW;
}

static void hooks(void)
{
    midge_config *config = config_on_free_port();
    midge_hooks hooks = MIDGE_HOOKS_INIT;
    midge_publish_options options = MIDGE_PUBLISH_OPTIONS_INIT;
    hooks.authenticate = let_in;
    INVALID(midge_config_set_hooks(NULL, &hooks));
    INVALID(midge_config_set_hooks(NULL, NULL));
    hooks.struct_size = 3;
    INVALID(midge_config_set_hooks(config, &hooks));
    hooks.struct_size = (size_t)-1;
    INVALID(midge_config_set_hooks(config, &hooks));
    INVALID(midge_decision_resolve(NULL, MIDGE_ALLOW));
    INVALID(midge_decision_resolve_auth(NULL, MIDGE_ALLOW, NULL, 0));
    midge_decision_free(NULL);
    INVALID(midge_edit_set_topic(NULL, "a"));
    INVALID(midge_edit_set_payload(NULL, "a", 1));
    INVALID(midge_edit_set_qos(NULL, 0));
    INVALID(midge_edit_set_retain(NULL, 0));
    INVALID(midge_edit_add_user_property(NULL, "a", "b"));
    INVALID(midge_edit_set_options(NULL, &options));
    midge_config_free(config);
}

static void written(const midge_log_view *line, void *user_data)
{
    (void)line;
    (void)user_data;
}

static void logging(void)
{
    midge_config *config = config_on_free_port();
    INVALID(midge_config_set_log(NULL, MIDGE_LOG_INFO, written, NULL, NULL));
    INVALID(midge_config_set_log(NULL, MIDGE_LOG_INFO, NULL, NULL, NULL));
    INVALID(midge_config_set_log(config, -1, written, NULL, NULL));
    INVALID(midge_config_set_log(config, 4, written, NULL, NULL));
    INVALID(midge_config_set_log(config, INT32_MIN, NULL, NULL, NULL));
    INVALID(midge_config_set_log(config, INT32_MAX, written, NULL, NULL));
    midge_config_free(config);
}

static void testing(void)
{
    midge_broker *unused = NULL;
    const midge_fault fresh = MIDGE_FAULT_INIT;
    midge_fault fault = MIDGE_FAULT_INIT;
    midge_broker *broker = NULL, *plain = start();
    midge_batch *batch = NULL;
    midge_error *error = NULL;
    uint64_t id = 0, hits = 99;
#define NO_FAULT(field)                                                                        \
    do {                                                                                       \
        INVALID(midge_broker_inject(broker, &fault, &id, &error));                             \
        CHECK(error_is(error, MIDGE_STATUS_INVALID_ARGUMENT, field ": "));                     \
        error = NULL;                                                                          \
        fault = fresh;                                                                         \
    } while (0)
#define NOT_IN_TEST_MODE(call) CHECK_STATUS(MIDGE_STATUS_STATE, call)
    INVALID(midge_start_test(NULL, NULL, NULL));
    INVALID(midge_start_test_durable(NULL, NULL, NULL));
    MUST(midge_start_test(NULL, &broker, NULL) == MIDGE_STATUS_OK);
    INVALID(midge_broker_advance(NULL, 1));
    INVALID(midge_broker_advance(broker, -1));
    INVALID(midge_broker_advance(broker, INT64_MIN));
    INVALID(midge_broker_advance(broker, INT64_MAX));
    CHECK(midge_broker_time(NULL) == -1 && midge_broker_time(broker) == 0);
    INVALID(midge_broker_crash(NULL, MIDGE_CRASH_KILL));
    INVALID(midge_broker_crash(broker, 0));
    INVALID(midge_broker_restart(NULL, &unused, NULL));
    INVALID(midge_broker_restart(broker, NULL, NULL));
    INVALID(midge_broker_set_disk(NULL, MIDGE_DISK_WELL, 0, NULL));
    INVALID(midge_broker_set_disk(broker, -1, 0, NULL));
    INVALID(midge_broker_inject(NULL, &fault, &id, NULL));
    INVALID(midge_broker_inject(broker, NULL, &id, NULL));
    NO_FAULT("action");
    fault.action = 7;
    NO_FAULT("action");
    fault.action = INT32_MIN;
    NO_FAULT("action");
    fault.action = MIDGE_FAULT_DROP;
    fault.packet_type = 1;
    NO_FAULT("packet_type");
    fault.action = MIDGE_FAULT_DROP;
    fault.packet_type = 256 + MIDGE_PACKET_PUBACK;
    NO_FAULT("packet_type");
    fault.action = MIDGE_FAULT_DROP;
    fault.packet_type = -1;
    NO_FAULT("packet_type");
    fault.action = MIDGE_FAULT_REFUSE;
    NO_FAULT("reason_code");
    fault.action = MIDGE_FAULT_REFUSE;
    fault.reason_code = 256 + 0x87;
    NO_FAULT("reason_code");
    fault.action = MIDGE_FAULT_REFUSE;
    fault.reason_code = 0x8E;
    NO_FAULT("reason_code");
    fault.action = MIDGE_FAULT_REFUSE;
    fault.reason_code = 0x87;
    fault.packet_type = MIDGE_PACKET_CONNACK;
    NO_FAULT("packet_type");
    fault.action = MIDGE_FAULT_DROP;
    fault.reason_code = 0x87;
    NO_FAULT("reason_code");
    fault.action = MIDGE_FAULT_DROP;
    fault.delay_ms = 1;
    NO_FAULT("delay_ms");
    fault.action = MIDGE_FAULT_DELAY;
    fault.delay_ms = -1;
    NO_FAULT("delay_ms");
    fault.action = MIDGE_FAULT_CUT;
    fault.bytes = 1;
    NO_FAULT("bytes");
    fault.action = MIDGE_FAULT_CUT_AFTER_BYTES;
    fault.bytes = -1;
    NO_FAULT("bytes");
    fault.action = MIDGE_FAULT_CUT_AFTER_BYTES;
    fault.after = 1;
    NO_FAULT("after");
    fault.action = MIDGE_FAULT_DROP;
    fault.after = INT64_MIN;
    NO_FAULT("after");
    fault.action = MIDGE_FAULT_DROP;
    fault.count = -1;
    NO_FAULT("count");
    fault.action = MIDGE_FAULT_DROP;
    fault.client_id = "\xff";
    NO_FAULT("client_id");
    fault.action = MIDGE_FAULT_DROP;
    fault.reserved = 1;
    NO_FAULT("reserved");
    fault.struct_size = 0;
    NO_FAULT("struct_size");
    CHECK(id == 0);
    fault.action = MIDGE_FAULT_DELAY;
    fault.delay_ms = INT64_MAX;
    fault.count = INT64_MAX;
    CHECK_STATUS(MIDGE_STATUS_OK, midge_broker_inject(broker, &fault, NULL, NULL));
    INVALID(midge_broker_fault_hits(NULL, 1, 0, 0, &hits));
    CHECK_STATUS(MIDGE_STATUS_TIMED_OUT, midge_broker_fault_hits(broker, UINT64_MAX, 1, -1, &hits));
    CHECK_STATUS(MIDGE_STATUS_TIMED_OUT, midge_broker_fault_hits(broker, 1, UINT64_MAX, 0, &hits));
    CHECK(hits == 99);
    CHECK_STATUS(MIDGE_STATUS_OK, midge_broker_fault_hits(broker, UINT64_MAX, 0, -1, &hits));
    CHECK_STATUS(MIDGE_STATUS_OK, midge_broker_fault_hits(broker, 1, 0, 0, NULL));
    CHECK(hits == 0);
    INVALID(midge_broker_clear_fault(NULL, 0));
    CHECK_STATUS(MIDGE_STATUS_OK, midge_broker_clear_fault(broker, 0));
    CHECK_STATUS(MIDGE_STATUS_OK, midge_broker_clear_fault(broker, UINT64_MAX));
    INVALID(midge_broker_cut(NULL, "a"));
    INVALID(midge_broker_cut(broker, NULL));
    INVALID(midge_broker_cut(broker, "\xff"));
    CHECK_STATUS(MIDGE_STATUS_NOT_CONNECTED, midge_broker_cut(broker, "a"));
    INVALID(midge_broker_pause(NULL, "a", 1));
    INVALID(midge_broker_pause(broker, NULL, 1));
    INVALID(midge_broker_pause(broker, "\xff", 1));
    INVALID(midge_broker_pause(broker, "a", 2));
    CHECK_STATUS(MIDGE_STATUS_NOT_CONNECTED, midge_broker_pause(broker, "a", 1));
    INVALID(midge_broker_published(NULL, "a", &batch, NULL));
    INVALID(midge_broker_published(broker, NULL, &batch, NULL));
    INVALID(midge_broker_published(broker, "a", NULL, NULL));
    CHECK_STATUS(MIDGE_STATUS_TOPIC, midge_broker_published(broker, "\xff", &batch, NULL));
    CHECK_STATUS(MIDGE_STATUS_TOPIC, midge_broker_published(broker, "a+", &batch, &error));
    CHECK(error_is(error, MIDGE_STATUS_TOPIC, "a+") && batch == NULL);
    INVALID(midge_broker_forget_published(NULL));
    error = NULL;
    INVALID(midge_broker_wait_for(NULL, "a", 1, 0, NULL));
    INVALID(midge_broker_wait_for(broker, NULL, 1, 0, NULL));
    CHECK_STATUS(MIDGE_STATUS_TOPIC, midge_broker_wait_for(broker, "#/a", 1, 0, NULL));
    CHECK_STATUS(MIDGE_STATUS_OK, midge_broker_wait_for(broker, "a", 0, 0, NULL));
    CHECK_STATUS(MIDGE_STATUS_TIMED_OUT, midge_broker_wait_for(broker, "a", (size_t)-1, 0, NULL));
    INVALID(midge_broker_wait_for_client(NULL, "a", 1, 0));
    INVALID(midge_broker_wait_for_client(broker, NULL, 1, 0));
    INVALID(midge_broker_wait_for_client(broker, "\xff", 1, 0));
    INVALID(midge_broker_wait_for_client(broker, "a", -1, 0));
    INVALID(midge_broker_wait_for_subscription(NULL, "a", 0));
    INVALID(midge_broker_wait_for_subscription(broker, NULL, 0));
    CHECK_STATUS(MIDGE_STATUS_TOPIC, midge_broker_wait_for_subscription(broker, "", 0));

    fault = fresh;
    fault.action = MIDGE_FAULT_DROP;
    NOT_IN_TEST_MODE(midge_broker_advance(plain, 1));
    NOT_IN_TEST_MODE(midge_broker_crash(plain, MIDGE_CRASH_KILL));
    NOT_IN_TEST_MODE(midge_broker_restart(plain, &unused, NULL));
    NOT_IN_TEST_MODE(midge_broker_set_disk(plain, MIDGE_DISK_WELL, 0, NULL));
    NOT_IN_TEST_MODE(midge_broker_inject(plain, &fault, NULL, &error));
    CHECK(error_is(error, MIDGE_STATUS_STATE, "not started in test mode"));
    NOT_IN_TEST_MODE(midge_broker_fault_hits(plain, 1, 0, 0, NULL));
    NOT_IN_TEST_MODE(midge_broker_clear_fault(plain, 0));
    NOT_IN_TEST_MODE(midge_broker_cut(plain, "a"));
    NOT_IN_TEST_MODE(midge_broker_pause(plain, "a", 1));
    NOT_IN_TEST_MODE(midge_broker_published(plain, "a", &batch, NULL));
    NOT_IN_TEST_MODE(midge_broker_forget_published(plain));
    NOT_IN_TEST_MODE(midge_broker_wait_for(plain, "a", 0, 0, NULL));
    NOT_IN_TEST_MODE(midge_broker_wait_for_client(plain, "a", 0, 0));
    NOT_IN_TEST_MODE(midge_broker_wait_for_subscription(plain, "a", 0));
    CHECK(midge_broker_time(plain) >= 0);
    midge_broker_free(plain);
    midge_broker_free(broker);
}

int main(void)
{
    RUN(texts_of_any_number);
    RUN(configurations);
    RUN(brokers);
    RUN(listeners);
    RUN(lists);
    RUN(publishing);
    RUN(subscribing);
    RUN(queues);
    RUN(messages);
    RUN(hooks);
    RUN(logging);
    RUN(testing);
    FINISH();
}
