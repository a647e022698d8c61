/* A host thread publishes to peers that have vanished: no SIGPIPE may end the process. */
#include "check.h"

#include <sys/wait.h>

#define ROUNDS 60

/* Closes the connection, either with RST at once or with FIN and an RST to what comes then. */
static void vanish(int fd, int reset)
{
    struct linger linger = { 1, 0 };
    if (reset)
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
    close(fd);
}

static size_t clients_connected(midge_broker *broker)
{
    midge_stats stats = MIDGE_STATS_INIT;
    MUST(midge_broker_stats(broker, &stats) == MIDGE_STATUS_OK);
    return (size_t)stats.clients_connected;
}

/* Proof that this process is not safe by itself: the same write without Midge ends a child of it. */
static void without_midge_the_signal_kills(void)
{
    int status = 0;
    pid_t child = fork();
    if (child == 0) {
        int pair[2];
        if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0) {
            close(pair[1]);
            if (write(pair[0], "x", 1) < 0)
                _exit(1);
        }
        _exit(2);
    }
    MUST(child > 0 && waitpid(child, &status, 0) == child);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGPIPE);
}

static void the_host_survives_publishing_to_dead_peers(void)
{
    /* Large ones leave in a vectored write, small ones in a plain one. */
    static char payload[64 * 1024];
    const size_t sizes[] = { 16, 9000, sizeof payload };
    midge_broker *broker = start();
    int round;
    memset(payload, 'x', sizeof payload);
    for (round = 0; round < ROUNDS; round++) {
        int fd = client_connect(broker, "client");
        int count;
        client_subscribe(fd, "t");
        vanish(fd, round % 2);
        for (count = 0; count < 20; count++)
            CHECK_STATUS(MIDGE_STATUS_OK, midge_publish(broker, "t", payload, sizes[round % 3], NULL));
    }
    while (clients_connected(broker) > 0)
        CHECK_STATUS(MIDGE_STATUS_OK, midge_publish(broker, "t", payload, sizeof payload, NULL));
    midge_broker_free(broker);
}

int main(void)
{
    signal(SIGPIPE, SIG_DFL);
    RUN(without_midge_the_signal_kills);
    RUN(the_host_survives_publishing_to_dead_peers);
    FINISH();
}
