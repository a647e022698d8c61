/* The console of a broker in a C program: its address, what it answers, and its end. */
#include "check.h"

static midge_config *config_with_console(void)
{
    midge_config *config = config_on_free_port();
    MUST(midge_config_set(config, "console.listen", "127.0.0.1:0", NULL) == MIDGE_STATUS_OK);
    MUST(midge_config_set(config, "console.tutorial", "true", NULL) == MIDGE_STATUS_OK);
    return config;
}

/* The first line of the answer to a request without a body. */
static void ask(const char *address, const char *path, char *line, size_t size)
{
    char request[300];
    size_t len = 0;
    int fd = dial(address);
    snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", path, address);
    send_all(fd, request, strlen(request));
    do {
        receive(fd, line + len, 1);
    } while (line[len] != '\r' && ++len < size - 1);
    line[len] = '\0';
    close(fd);
}

static void it_tells_its_address_and_answers(void)
{
    midge_broker *broker = start_with(config_with_console());
    const char *address = midge_broker_console_address(broker);
    char line[100];
    CHECK(address != NULL && strncmp(address, "127.0.0.1:", 10) == 0 && atoi(address + 10) > 0);
    CHECK(strcmp(address, midge_broker_address(broker, NULL)) != 0);
    CHECK(midge_broker_listener_count(broker) == 1);
    ask(address, "/health", line, sizeof line);
    CHECK(strcmp(line, "HTTP/1.1 200 OK") == 0);
    ask(address, "/api/v1/clients", line, sizeof line);
    CHECK(strcmp(line, "HTTP/1.1 401 Unauthorized") == 0);
    midge_broker_free(broker);
}

static void it_ends_with_the_broker(void)
{
    midge_broker *broker = start_with(config_with_console());
    int fd = dial(midge_broker_console_address(broker));
    CHECK_STATUS(MIDGE_STATUS_OK, midge_stop(broker, 1000));
    CHECK(is_closed_by_peer(fd));
    /* The address is still known. */
    CHECK(midge_broker_console_address(broker) != NULL);
    midge_broker_free(broker);
}

static void there_is_none_unless_it_is_asked_for(void)
{
    midge_broker *broker = start();
    CHECK(midge_broker_console_address(broker) == NULL);
    CHECK(midge_broker_console_address(NULL) == NULL);
    midge_broker_free(broker);
}

static void a_port_in_use_is_an_error_that_names_it(void)
{
    midge_broker *first = start_with(config_with_console()), *second = NULL;
    midge_config *config = config_on_free_port();
    midge_error *error = NULL;
    char sentence[100];
    const char *address = midge_broker_console_address(first);
    MUST(midge_config_set(config, "console.listen", address, NULL) == MIDGE_STATUS_OK);
    MUST(midge_config_set(config, "console.tutorial", "true", NULL) == MIDGE_STATUS_OK);
    CHECK_STATUS(MIDGE_STATUS_ADDRESS_IN_USE, midge_start(config, &second, &error));
    snprintf(sentence, sizeof sentence, "console.listen: %s: address in use", address);
    CHECK(second == NULL && strcmp(midge_error_message(error), sentence) == 0);
    midge_error_free(error);
    midge_config_free(config);
    midge_broker_free(first);
}

int main(void)
{
    RUN(it_tells_its_address_and_answers);
    RUN(it_ends_with_the_broker);
    RUN(there_is_none_unless_it_is_asked_for);
    RUN(a_port_in_use_is_an_error_that_names_it);
    FINISH();
}
