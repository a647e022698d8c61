/* The log: lines that the broker gives to a function of the host. */
#include "notes.h"

typedef struct host {
    midge_broker *broker;
    event told;
    event freed;
    midge_status stopped;
    int32_t worst;
    notes lines;
} host;

static void host_init(host *host)
{
    event fresh = EVENT_INIT;
    memset(host, 0, sizeof *host);
    host->told = fresh;
    host->freed = fresh;
    notes_init(&host->lines);
    host->worst = MIDGE_LOG_DEBUG;
}

static void freed(void *user_data)
{
    event_add(&((host *)user_data)->freed);
}

/* Writes each line down, with the client that it is about before it. */
static void written(const midge_log_view *line, void *user_data)
{
    host *host_of = (host *)user_data;
    CHECK(line->struct_size == sizeof *line);
    /* Lines come one after the other; who has read the notes sees it. */
    if (line->level < host_of->worst)
        host_of->worst = line->level;
    note(&host_of->lines, "%.*s|%.*s\n", (int)line->client_id.len,
         line->client_id.data == NULL ? "" : (const char *)line->client_id.data, (int)line->text.len,
         (const char *)line->text.data);
    event_add(&host_of->told);
}

static void the_host_reads_what_happens(void)
{
    midge_config *config = config_on_free_port();
    host host_of;
    char expected[128];
    int client;
    host_init(&host_of);
    MUST(midge_config_set_log(config, MIDGE_LOG_INFO, written, &host_of, freed) == MIDGE_STATUS_OK);
    host_of.broker = start_with(config);
    CHECK(notes_have(&host_of.lines, "|midge " MIDGE_VERSION " has started\n"));
    snprintf(expected, sizeof expected, "|listener tcp is at %s\n", midge_broker_address(host_of.broker, NULL));
    CHECK(notes_have(&host_of.lines, expected));
    client = client_connect(host_of.broker, "c");
    CHECK(notes_have(&host_of.lines, "c|client \"c\": has connected from 127.0.0.1:"));
    MUST(midge_broker_kick(host_of.broker, "c") == MIDGE_STATUS_OK);
    CHECK(notes_have(&host_of.lines, "c|client \"c\": kicked by the host\n"));
    close(client);
    CHECK(host_of.worst == MIDGE_LOG_INFO);
    CHECK_STATUS(MIDGE_STATUS_OK, midge_stop(host_of.broker, 0));
    CHECK(notes_have(&host_of.lines, "|the broker has stopped\n"));
    CHECK(event_count(&host_of.freed) == 0);
    midge_broker_free(host_of.broker);
    CHECK(event_count(&host_of.freed) == 1);
}

/* Only what is wanted, and the worst of it first. */
static void levels_are_obeyed(void)
{
    midge_config *config = config_on_free_port();
    host host_of;
    int client;
    host_init(&host_of);
    MUST(midge_config_set_log(config, MIDGE_LOG_WARN, written, &host_of, freed) == MIDGE_STATUS_OK);
    host_of.broker = start_with(config);
    client = client_connect(host_of.broker, "c");
    send_all(client, "\x00\x00", 2);
    CHECK(event_wait(&host_of.told, 1));
    CHECK(notes_have(&host_of.lines, "c|client \"c\": disconnected with 0x81: "));
    CHECK(host_of.worst == MIDGE_LOG_WARN);
    CHECK(is_closed_by_peer(client));
    midge_broker_free(host_of.broker);
    CHECK(event_count(&host_of.told) == 1);
}

static void stop_within(const midge_log_view *line, void *user_data)
{
    host *host_of = (host *)user_data;
    written(line, user_data);
    if (host_of->broker != NULL) {
        host_of->stopped = midge_stop(host_of->broker, 0);
        /* A line of its own does not begin inside this one. */
        midge_broker_kick(host_of->broker, "c");
    }
}

static void it_may_call_the_broker_but_not_stop_it(void)
{
    midge_config *config = config_on_free_port();
    host host_of;
    int client;
    host_init(&host_of);
    MUST(midge_config_set_log(config, MIDGE_LOG_DEBUG, stop_within, &host_of, freed) == MIDGE_STATUS_OK);
    host_of.broker = start_with(config);
    client = client_connect(host_of.broker, "c");
    CHECK(is_closed_by_peer(client));
    CHECK(notes_have(&host_of.lines, "c|client \"c\": kicked by the host\n"));
    CHECK_STATUS(MIDGE_STATUS_IN_CALLBACK, host_of.stopped);
    midge_broker_free(host_of.broker);
    CHECK(event_count(&host_of.freed) == 1);
}

static void user_data_is_freed_once(void)
{
    midge_config *config = config_on_free_port(), *copy = NULL;
    midge_hooks hooks = MIDGE_HOOKS_INIT;
    midge_broker *broker = NULL;
    host host_of;
    host_init(&host_of);
    CHECK_STATUS(MIDGE_STATUS_INVALID_ARGUMENT, midge_config_set_log(NULL, MIDGE_LOG_INFO, written, &host_of, freed));
    CHECK_STATUS(MIDGE_STATUS_INVALID_ARGUMENT, midge_config_set_log(config, 4, written, &host_of, freed));
    CHECK_STATUS(MIDGE_STATUS_OK, midge_config_set_log(config, MIDGE_LOG_INFO, NULL, &host_of, freed));
    CHECK(event_count(&host_of.freed) == 3);
    CHECK_STATUS(MIDGE_STATUS_OK, midge_config_set_log(config, MIDGE_LOG_INFO, written, &host_of, freed));
    CHECK_STATUS(MIDGE_STATUS_OK, midge_config_set_log(config, MIDGE_LOG_WARN, written, &host_of, freed));
    CHECK(event_count(&host_of.freed) == 4);
    CHECK_STATUS(MIDGE_STATUS_OK, midge_config_clone(config, &copy));
    /* Hooks leave the log alone, and no log leaves hooks alone. */
    CHECK_STATUS(MIDGE_STATUS_OK, midge_config_set_hooks(config, &hooks));
    CHECK_STATUS(MIDGE_STATUS_OK, midge_config_set_log(config, MIDGE_LOG_INFO, NULL, NULL, NULL));
    midge_config_free(config);
    CHECK(event_count(&host_of.freed) == 4);
    MUST(midge_start(copy, &broker, NULL) == MIDGE_STATUS_OK);
    midge_config_free(copy);
    CHECK(event_count(&host_of.freed) == 4);
    midge_broker_free(broker);
    CHECK(event_count(&host_of.freed) == 5);
    /* Nothing happened that is worth a warning. */
    CHECK(event_count(&host_of.told) == 0);
}

int main(void)
{
    RUN(the_host_reads_what_happens);
    RUN(levels_are_obeyed);
    RUN(it_may_call_the_broker_but_not_stop_it);
    RUN(user_data_is_freed_once);
    FINISH();
}
