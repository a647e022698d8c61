/* Sockets that the host hands over, to a broker with and without listeners. */
#include "check.h"

#include <fcntl.h>

static midge_broker *without_listeners(void)
{
    midge_config *config = NULL;
    MUST(midge_config_new(&config) == MIDGE_STATUS_OK);
    MUST(midge_config_set(config, "listener.tcp.bind", "off", NULL) == MIDGE_STATUS_OK);
    return start_with(config);
}

static int is_open(int fd)
{
    return fcntl(fd, F_GETFD) != -1;
}

/* The peer's end of a socketpair whose other end the broker has. */
static int adopted(midge_broker *broker, const char *listener)
{
    int ends[2];
    MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
    MUST(midge_broker_adopt_fd(broker, ends[0], listener, NULL) == MIDGE_STATUS_OK);
    CHECK(!is_open(ends[0]));
    return ends[1];
}

static void one_end_of_a_socketpair_is_a_client_of_a_broker_without_port(void)
{
    midge_broker *broker = without_listeners();
    midge_clients *clients = NULL;
    midge_client_view view = MIDGE_CLIENT_VIEW_INIT;
    unsigned char publish[] = { 0x30, 6, 0, 3, 'a', '/', 'b', '!' }, received[sizeof publish];
    int fd;
    CHECK(midge_broker_address(broker, NULL) == NULL && midge_broker_listener_count(broker) == 0);
    fd = adopted(broker, NULL);
    client_open(fd, "inside");
    client_subscribe(fd, "a/+");
    CHECK_STATUS(MIDGE_STATUS_OK, publish_text(broker, "a/b", "!"));
    receive(fd, received, sizeof received);
    CHECK(memcmp(received, publish, sizeof publish) == 0);
    send_all(fd, publish, sizeof publish);
    receive(fd, received, sizeof received);
    CHECK(memcmp(received, publish, sizeof publish) == 0);
    MUST(midge_broker_clients(broker, &clients) == MIDGE_STATUS_OK);
    CHECK_STATUS(MIDGE_STATUS_OK, midge_clients_at(clients, 0, &view));
    CHECK(bytes_are(view.client_id, "inside") && view.address.data == NULL && view.connected == 1);
    midge_clients_free(clients);
    CHECK_STATUS(MIDGE_STATUS_OK, midge_broker_kick(broker, "inside"));
    CHECK(is_closed_by_peer(fd));
    fd = adopted(broker, NULL);
    client_open(fd, "again");
    CHECK_STATUS(MIDGE_STATUS_OK, midge_stop(broker, -1));
    CHECK(is_closed_by_peer(fd));
    midge_broker_free(broker);
}

static void an_accepted_tcp_connection_is_a_client_with_an_address(void)
{
    midge_broker *broker = without_listeners();
    midge_clients *clients = NULL;
    midge_client_view view = MIDGE_CLIENT_VIEW_INIT;
    struct sockaddr_in address;
    socklen_t len = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM, 0), client = socket(AF_INET, SOCK_STREAM, 0), fd;
    memset(&address, 0, sizeof address);
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    MUST(bind(listener, (struct sockaddr *)&address, sizeof address) == 0 && listen(listener, 1) == 0);
    MUST(getsockname(listener, (struct sockaddr *)&address, &len) == 0);
    MUST(connect(client, (struct sockaddr *)&address, sizeof address) == 0);
    fd = accept(listener, NULL, NULL);
    CHECK_STATUS(MIDGE_STATUS_INVALID_ARGUMENT, midge_broker_adopt_fd(broker, listener, NULL, NULL));
    CHECK_STATUS(MIDGE_STATUS_OK, midge_broker_adopt_fd(broker, fd, NULL, NULL));
    client_open(client, "tcp");
    MUST(midge_broker_clients(broker, &clients) == MIDGE_STATUS_OK);
    CHECK_STATUS(MIDGE_STATUS_OK, midge_clients_at(clients, 0, &view));
    CHECK(view.address.len > 10 && memcmp(view.address.data, "127.0.0.1:", 10) == 0);
    midge_clients_free(clients);
    midge_broker_free(broker);
    CHECK(is_closed_by_peer(client));
    close(listener);
}

static void what_cannot_carry_a_connection_stays_the_caller_s(void)
{
    midge_broker *broker = start();
    midge_error *error = NULL;
    int ends[2], pipes[2];
    int datagram = socket(AF_INET, SOCK_DGRAM, 0), unconnected = socket(AF_INET, SOCK_STREAM, 0);
    MUST(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends) == 0 && pipe(pipes) == 0);
    CHECK_STATUS(MIDGE_STATUS_INVALID_ARGUMENT, midge_broker_adopt_fd(broker, datagram, NULL, NULL));
    CHECK_STATUS(MIDGE_STATUS_INVALID_ARGUMENT, midge_broker_adopt_fd(broker, ends[0], NULL, NULL));
    CHECK_STATUS(MIDGE_STATUS_INVALID_ARGUMENT, midge_broker_adopt_fd(broker, unconnected, NULL, &error));
    CHECK(error_is(error, MIDGE_STATUS_INVALID_ARGUMENT, "socket: is not connected"));
    CHECK_STATUS(MIDGE_STATUS_INVALID_ARGUMENT, midge_broker_adopt_fd(broker, pipes[0], NULL, &error));
    CHECK(error_is(error, MIDGE_STATUS_INVALID_ARGUMENT, "socket: is not a socket"));
    close(ends[0]);
    close(ends[1]);
    MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
    CHECK_STATUS(MIDGE_STATUS_OK, midge_stop(broker, 0));
    CHECK_STATUS(MIDGE_STATUS_STATE, midge_broker_adopt_fd(broker, ends[0], NULL, &error));
    CHECK(error_is(error, MIDGE_STATUS_STATE, "stopped"));
    CHECK(is_open(datagram) && is_open(unconnected) && is_open(pipes[0]) && is_open(ends[0]));
    CHECK((fcntl(ends[0], F_GETFL) & O_NONBLOCK) == 0);
    close(datagram);
    close(unconnected);
    close(pipes[0]);
    close(pipes[1]);
    close(ends[0]);
    close(ends[1]);
    midge_broker_free(broker);
}

static void the_limits_hold_for_them(void)
{
    midge_config *config = config_on_free_port();
    midge_broker *broker;
    unsigned char connect[] = { 0x10, 13, 0, 4, 'M', 'Q', 'T', 'T', 4, 2, 0, 0, 0, 1, 'x' }, connack[4];
    int ends[2], first, second, refused, silent;
    MUST(midge_config_set(config, "mqtt.max_connections", "2", NULL) == MIDGE_STATUS_OK);
    MUST(midge_config_set(config, "mqtt.max_pending_connections", "1", NULL) == MIDGE_STATUS_OK);
    MUST(midge_config_set(config, "listener.tcp.max_connections", "1", NULL) == MIDGE_STATUS_OK);
    broker = start_with(config);
    MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
    first = adopted(broker, "tcp");
    client_open(first, "first");
    /* They are clients that are counted, when they have sent CONNECT: return code 3. */
    refused = adopted(broker, "tcp");
    send_all(refused, connect, sizeof connect);
    receive(refused, connack, sizeof connack);
    CHECK(connack[3] == 3 && is_closed_by_peer(refused));
    second = adopted(broker, NULL);
    client_open(second, "second");
    refused = adopted(broker, NULL);
    send_all(refused, connect, sizeof connect);
    receive(refused, connack, sizeof connack);
    CHECK(connack[3] == 3 && is_closed_by_peer(refused));
    /* One that is silent, and one that is to take its place. */
    silent = adopted(broker, NULL);
    CHECK_STATUS(MIDGE_STATUS_OK, midge_broker_adopt_fd(broker, ends[0], NULL, NULL));
    CHECK(is_closed_by_peer(silent));
    midge_broker_free(broker);
    CHECK(is_closed_by_peer(first) && is_closed_by_peer(second));
    close(ends[1]);
}

int main(void)
{
    RUN(one_end_of_a_socketpair_is_a_client_of_a_broker_without_port);
    RUN(an_accepted_tcp_connection_is_a_client_with_an_address);
    RUN(what_cannot_carry_a_connection_stays_the_caller_s);
    RUN(the_limits_hold_for_them);
    FINISH();
}
