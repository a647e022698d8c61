/* A test of a program that speaks MQTT, without a broker to install and without waiting: the sensor below is the
 * program, main is its test.
 *
 *     cc test_client.c $(pkg-config --cflags --libs midge) -o test_client
 */
#define _POSIX_C_SOURCE 200809L

#include <arpa/inet.h>
#include <midge.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* The program: publishes one reading at QoS 1, and connects again until it is acknowledged. It has a keep alive of 60
 * seconds, and a will. Returns its connection. */

static int sensor_connect(const char *address)
{
    static const char packet[] = "\x10\x23\0\4MQTT\x04\x0e\0\x3c\0\6sensor\0\6status\0\7offline";
    char connack[4];
    struct sockaddr_in to;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    memset(&to, 0, sizeof to);
    to.sin_family = AF_INET;
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    to.sin_port = htons((unsigned short)atoi(strchr(address, ':') + 1));
    if (connect(fd, (struct sockaddr *)&to, sizeof to) == 0 &&
        send(fd, packet, sizeof packet - 1, MSG_NOSIGNAL) == (ssize_t)sizeof packet - 1 &&
        recv(fd, connack, sizeof connack, MSG_WAITALL) == (ssize_t)sizeof connack && connack[3] == 0)
        return fd;
    close(fd);
    return -1;
}

static int sensor_run(const char *address)
{
    static const char packet[] = "\x32\x0d\0\7reading\0\1" "21";
    int attempt;
    for (attempt = 0; attempt < 10; attempt++) {
        char puback[4];
        int fd = sensor_connect(address);
        if (fd < 0)
            continue;
        if (send(fd, packet, sizeof packet - 1, MSG_NOSIGNAL) == (ssize_t)sizeof packet - 1 &&
            recv(fd, puback, sizeof puback, MSG_WAITALL) == (ssize_t)sizeof puback)
            return fd;
        close(fd);
    }
    return -1;
}

/* The test. */

static int failures;

static void check(int so, const char *what)
{
    printf("%s: %s\n", so ? "ok" : "FAILED", what);
    failures += !so;
}

static void crash_test(void)
{
    midge_broker *broker = NULL, *restarted = NULL;
    int sensor;

    /* In a temporary directory, which goes together with the broker. */
    check(midge_start_test_durable(NULL, &broker, NULL) == MIDGE_STATUS_OK, "a durable broker starts");
    sensor = sensor_run(midge_broker_address(broker, NULL));

    /* The power fails. The broker comes back a minute later, at the same address and with what it has acknowledged. */
    midge_broker_crash(broker, MIDGE_CRASH_POWER_CUT);
    midge_broker_advance(broker, 60 * 1000);
    check(midge_broker_restart(broker, &restarted, NULL) == MIDGE_STATUS_OK, "the broker restarts");
    close(sensor);
    sensor = sensor_run(midge_broker_address(restarted, NULL));
    check(sensor >= 0, "the sensor connects again");

    close(sensor);
    midge_broker_free(restarted);
    midge_broker_free(broker);
}

int main(void)
{
    midge_broker *broker = NULL;
    midge_error *error = NULL;
    midge_fault refused = MIDGE_FAULT_INIT, cut = MIDGE_FAULT_INIT;
    int sensor;

    /* NULL: a free port of 127.0.0.1. */
    if (midge_start_test(NULL, &broker, &error) != MIDGE_STATUS_OK) {
        fprintf(stderr, "%s\n", midge_error_message(error));
        midge_error_free(error);
        return 1;
    }

    /* The broker is not there at first, and when it is, it breaks off in place of the first acknowledgement. */
    refused.action = MIDGE_FAULT_REFUSE;
    refused.reason_code = 0x88;
    refused.count = 2;
    midge_broker_inject(broker, &refused, NULL, NULL);
    cut.action = MIDGE_FAULT_CUT;
    cut.packet_type = MIDGE_PACKET_PUBACK;
    midge_broker_inject(broker, &cut, NULL, NULL);

    sensor = sensor_run(midge_broker_address(broker, NULL));
    check(sensor >= 0, "the sensor copes with refusals and a broken connection");
    check(midge_broker_wait_for(broker, "reading", 2, 10000, &error) == MIDGE_STATUS_OK, "and sends its reading again");
    if (error != NULL)
        printf("%s\n", midge_error_message(error));
    midge_error_free(error);

    /* The cut has let its will out. From here on only what comes now counts. */
    midge_broker_forget_published(broker);

    /* An hour passes at once; the sensor, which sends nothing, is found to be dead, and its will tells. */
    midge_broker_advance(broker, 60 * 60 * 1000);
    check(midge_broker_wait_for(broker, "status", 1, 0, NULL) == MIDGE_STATUS_OK, "a silent sensor is reported offline");

    close(sensor);
    midge_broker_free(broker);
    crash_test();
    return failures == 0 ? 0 : 1;
}
