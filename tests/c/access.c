/* Who may connect: a password file by settings, read again by a call, and the refusal to be open to all. */
#include "check.h"

/* "secret", by Debian's mosquitto_passwd. */
#define SECRET \
    "$7$101$hqR93+XoHWTzC0sZ$Issi0o4rD/nZ3Kfv/F49KT9rjoLvJt+qSAGopJw9+Q8AzH16vTfYA0Yug9XPWUXDga3V31TNwgRMK8pR4k2uwg=="

static char path[64];

static void write_file(const char *text)
{
    FILE *file = fopen(path, "w");
    MUST(file != NULL && fputs(text, file) >= 0 && fclose(file) == 0);
}

/* The return code for a CONNECT of MQTT 3.1.1 with this user name of three letters and the password "secret". */
static int return_code(midge_broker *broker, const char *user)
{
    char packet[] = "\x10\x1a\x00\x04MQTT\x04\xc2\x00\x00\x00\x01" "c\x00\x03...\x00\x06secret";
    unsigned char connack[4];
    int fd = client_dial(broker);
    memcpy(packet + 17, user, 3);
    send_all(fd, packet, sizeof packet - 1);
    receive(fd, connack, sizeof connack);
    close(fd);
    MUST(connack[0] == 0x20);
    return connack[3];
}

static void users_connect_by_their_passwords(void)
{
    midge_config *config = config_on_free_port();
    midge_broker *broker;
    midge_error *error = NULL;
    snprintf(path, sizeof path, "/tmp/midge-c-access-%ld", (long)getpid());
    write_file("ann:" SECRET "\n");
    MUST(midge_config_set(config, "access.password_file", path, NULL) == MIDGE_STATUS_OK);
    broker = start_with(config);
    CHECK(return_code(broker, "ann") == 0 && return_code(broker, "bob") == 4);
    write_file("bob:" SECRET "\n");
    CHECK_STATUS(MIDGE_STATUS_OK, midge_broker_reload_access(broker, NULL));
    CHECK(return_code(broker, "ann") == 4 && return_code(broker, "bob") == 0);
    write_file("ann:" SECRET "\nbob\n");
    CHECK_STATUS(MIDGE_STATUS_CONFIG, midge_broker_reload_access(broker, &error));
    CHECK(error != NULL && strstr(midge_error_message(error), ": line 2: a line is user:hash") != NULL);
    midge_error_free(error);
    CHECK(return_code(broker, "ann") == 4 && return_code(broker, "bob") == 0);
    CHECK_STATUS(MIDGE_STATUS_OK, midge_stop(broker, 0));
    CHECK_STATUS(MIDGE_STATUS_STATE, midge_broker_reload_access(broker, NULL));
    midge_broker_free(broker);
    unlink(path);
}

static void nobody_listens_for_other_machines_by_mistake(void)
{
    midge_config *config = config_on_free_port();
    midge_broker *broker = NULL;
    midge_error *error = NULL;
    MUST(midge_config_set(config, "listener.tcp.bind", "0.0.0.0:0", NULL) == MIDGE_STATUS_OK);
    CHECK(midge_start(config, &broker, &error) < 0 && broker == NULL);
    CHECK(error != NULL && strstr(midge_error_message(error), "access.anonymous = true") != NULL);
    midge_error_free(error);
    MUST(midge_config_set(config, "access.anonymous", "true", NULL) == MIDGE_STATUS_OK);
    CHECK_STATUS(MIDGE_STATUS_OK, midge_start(config, &broker, NULL));
    midge_config_free(config);
    midge_broker_free(broker);
}

int main(void)
{
    RUN(users_connect_by_their_passwords);
    RUN(nobody_listens_for_other_machines_by_mistake);
    FINISH();
}
