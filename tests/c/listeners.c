/* Listeners that are added, paused, resumed and stopped while the broker runs. */
#include "check.h"

#include <sys/un.h>

/* A configuration in which the listener `lan` has a free port. */
static midge_config *lan(void)
{
    midge_config *config = NULL;
    MUST(midge_config_new(&config) == MIDGE_STATUS_OK);
    MUST(midge_config_set(config, "listener.lan.bind", "127.0.0.1:0", NULL) == MIDGE_STATUS_OK);
    MUST(midge_config_set(config, "listener.lan.max_connections", "7", NULL) == MIDGE_STATUS_OK);
    return config;
}

static void a_listener_is_added_described_and_stopped(void)
{
    midge_broker *broker = start();
    midge_config *config = lan();
    midge_listeners *listeners = NULL;
    midge_listener_view view = MIDGE_LISTENER_VIEW_INIT;
    midge_handshake_failure_view failure = MIDGE_HANDSHAKE_FAILURE_VIEW_INIT;
    const char *address;
    int fd;
    CHECK_STATUS(MIDGE_STATUS_OK, midge_broker_listener_add(broker, "lan", config, NULL));
    address = midge_broker_address(broker, "lan");
    CHECK(address != NULL && address == midge_broker_address(broker, "lan"));
    CHECK(midge_broker_listener_count(broker) == 2);
    fd = dial(address);
    client_open(fd, "a");
    MUST(midge_broker_listeners(broker, &listeners) == MIDGE_STATUS_OK);
    CHECK(midge_listeners_count(listeners) == 2);
    CHECK_STATUS(MIDGE_STATUS_OK, midge_listeners_at(listeners, 1, &view));
    CHECK(bytes_are(view.name, "lan") && bytes_are(view.address, address) && bytes_are(view.transport, "tcp"));
    CHECK(bytes_are(view.state, "accepting") && view.connections == 1 && view.max_connections == 7);
    CHECK(view.accepted == 1 && view.refused == 0 && view.handshake_failures == 0 && view.failure_reasons == 0);
    CHECK_STATUS(MIDGE_STATUS_INVALID_ARGUMENT, midge_listeners_at(listeners, 2, &view));
    CHECK_STATUS(MIDGE_STATUS_INVALID_ARGUMENT, midge_listeners_failure_at(listeners, 1, 0, &failure));
    midge_listeners_free(listeners);
    CHECK_STATUS(MIDGE_STATUS_OK, midge_broker_listener_pause(broker, "lan", NULL));
    CHECK_STATUS(MIDGE_STATUS_OK, midge_broker_listener_at(broker, 1, &view));
    CHECK(bytes_are(view.state, "paused"));
    CHECK_STATUS(MIDGE_STATUS_OK, midge_broker_listener_resume(broker, "lan", NULL));
    CHECK_STATUS(MIDGE_STATUS_OK, midge_broker_listener_stop(broker, "lan", MIDGE_CONNECTIONS_DISCONNECT, NULL));
    CHECK(is_closed_by_peer(fd));
    CHECK(midge_broker_address(broker, "lan") == NULL && midge_broker_listener_count(broker) == 1);
    midge_config_free(config);
    midge_broker_free(broker);
}

static void errors_name_the_listener(void)
{
    midge_broker *broker = start();
    midge_config *config = lan();
    midge_error *error = NULL;
    CHECK_STATUS(MIDGE_STATUS_INVALID_ARGUMENT, midge_broker_listener_add(broker, "tcp", config, &error));
    CHECK(strstr(midge_error_message(error), "\"tcp\" already") != NULL);
    midge_error_free(error);
    CHECK_STATUS(MIDGE_STATUS_CONFIG, midge_broker_listener_add(broker, "other", config, NULL));
    CHECK_STATUS(MIDGE_STATUS_INVALID_ARGUMENT, midge_broker_listener_add(broker, NULL, config, NULL));
    CHECK_STATUS(MIDGE_STATUS_INVALID_ARGUMENT, midge_broker_listener_add(broker, "lan", NULL, NULL));
    CHECK_STATUS(MIDGE_STATUS_OK,
                 midge_config_set(config, "listener.lan.bind", midge_broker_address(broker, NULL), NULL));
    CHECK_STATUS(MIDGE_STATUS_ADDRESS_IN_USE, midge_broker_listener_add(broker, "lan", config, NULL));
    CHECK_STATUS(MIDGE_STATUS_INVALID_ARGUMENT, midge_broker_listener_stop(broker, "tcp", 2, NULL));
    CHECK_STATUS(MIDGE_STATUS_INVALID_ARGUMENT, midge_broker_listener_stop(broker, "lan", 0, NULL));
    CHECK_STATUS(MIDGE_STATUS_INVALID_ARGUMENT, midge_broker_listener_pause(broker, "lan", NULL));
    CHECK_STATUS(MIDGE_STATUS_INVALID_ARGUMENT, midge_broker_listener_resume(broker, "lan", NULL));
    CHECK_STATUS(MIDGE_STATUS_OK, midge_stop(broker, 0));
    CHECK_STATUS(MIDGE_STATUS_STATE, midge_broker_listener_add(broker, "lan", config, NULL));
    CHECK_STATUS(MIDGE_STATUS_STATE, midge_broker_listener_stop(broker, "tcp", 0, NULL));
    midge_config_free(config);
    midge_broker_free(broker);
}

static void a_connection_is_adopted_with_a_transport(void)
{
    midge_broker *broker = start();
    midge_adopt_options options = MIDGE_ADOPT_OPTIONS_INIT;
    int ends[2];
    MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
    options.transport = "quic";
    CHECK_STATUS(MIDGE_STATUS_INVALID_ARGUMENT, midge_broker_adopt_fd_with(broker, ends[0], &options, NULL));
    options.transport = "tls";
    CHECK_STATUS(MIDGE_STATUS_INVALID_ARGUMENT, midge_broker_adopt_fd_with(broker, ends[0], &options, NULL));
    options.listener = "tcp";
    CHECK_STATUS(MIDGE_STATUS_CONFIG, midge_broker_adopt_fd_with(broker, ends[0], &options, NULL));
    options.transport = "tcp";
    CHECK_STATUS(MIDGE_STATUS_OK, midge_broker_adopt_fd_with(broker, ends[0], &options, NULL));
    client_open(ends[1], "adopted");
    CHECK_STATUS(MIDGE_STATUS_OK, midge_broker_kick(broker, "adopted"));
    CHECK(is_closed_by_peer(ends[1]));
    midge_broker_free(broker);
}

/* ---- processes ---- */

static event asked = EVENT_INIT;

static int is_this_process(int64_t uid, int64_t gid, int64_t pid)
{
    return uid == (int64_t)geteuid() && gid == (int64_t)getegid() && pid == (int64_t)getpid();
}

static int32_t authenticate(const midge_connect_request *request, midge_decision *decision, void *user_data)
{
    int local = bytes_are(request->listener, "local");
    (void)decision, (void)user_data;
    CHECK(local ? is_this_process(request->uid, request->gid, request->pid)
                : request->uid == -1 && request->gid == -1 && request->pid == -1);
    event_add(&asked);
    return MIDGE_ALLOW;
}

static int32_t authorize(const midge_access_request *request, midge_decision *decision, void *user_data)
{
    (void)decision, (void)user_data;
    CHECK(is_this_process(request->uid, request->gid, request->pid));
    event_add(&asked);
    return MIDGE_ALLOW;
}

static void connected(const midge_connection_view *view, void *user_data)
{
    (void)user_data;
    CHECK(bytes_are(view->listener, "local") ? is_this_process(view->uid, view->gid, view->pid) : view->uid == -1);
    event_add(&asked);
}

static void a_process_at_a_unix_domain_socket_is_told_by_numbers(void)
{
    static const unsigned char subscribe[] = { 0x82, 6, 0, 1, 0, 1, 't', 0 };
    midge_hooks hooks = MIDGE_HOOKS_INIT;
    midge_config *config = config_on_free_port();
    midge_client_view view = MIDGE_CLIENT_VIEW_INIT;
    midge_clients *clients = NULL;
    midge_broker *broker;
    struct sockaddr_un place;
    char address[128];
    unsigned char suback[5];
    size_t i;
    int local, far;
    hooks.authenticate = authenticate;
    hooks.authorize = authorize;
    hooks.on_connected = connected;
    memset(&place, 0, sizeof place);
    place.sun_family = AF_UNIX;
    snprintf(place.sun_path, sizeof place.sun_path, "/tmp/midge-c-%d.sock", (int)getpid());
    snprintf(address, sizeof address, "unix:%s", place.sun_path);
    MUST(midge_config_set(config, "listener.local.bind", address, NULL) == MIDGE_STATUS_OK);
    MUST(midge_config_set_hooks(config, &hooks) == MIDGE_STATUS_OK);
    broker = start_with(config);
    local = socket(AF_UNIX, SOCK_STREAM, 0);
    MUST(local >= 0 && connect(local, (struct sockaddr *)&place, sizeof place) == 0);
    client_open(local, "local");
    send_all(local, subscribe, sizeof subscribe);
    receive(local, suback, sizeof suback);
    CHECK(suback[0] == 0x90 && suback[4] == 0);
    far = client_dial(broker);
    client_open(far, "far");
    CHECK(event_wait(&asked, 5));
    MUST(midge_broker_clients(broker, &clients) == MIDGE_STATUS_OK && midge_clients_count(clients) == 2);
    for (i = 0; i < 2; i++) {
        MUST(midge_clients_at(clients, i, &view) == MIDGE_STATUS_OK);
        CHECK(bytes_are(view.client_id, "local") ? is_this_process(view.uid, view.gid, view.pid)
                                                 : view.uid == -1 && view.gid == -1 && view.pid == -1);
    }
    midge_clients_free(clients);
    close(local);
    close(far);
    midge_broker_free(broker);
}

int main(void)
{
    RUN(a_listener_is_added_described_and_stopped);
    RUN(errors_name_the_listener);
    RUN(a_connection_is_adopted_with_a_transport);
    RUN(a_process_at_a_unix_domain_socket_is_told_by_numbers);
    FINISH();
}
