/* The store of a broker in a C program: it lasts, and it is copied while the broker runs. */
#include "check.h"

#include <sys/stat.h>

static char place[] = "/tmp/midge-storage-XXXXXX";

/* A broker whose store is in the directory `name` of the test. */
static midge_broker *start_at(const char *name)
{
    midge_config *config = config_on_free_port();
    char path[100];
    snprintf(path, sizeof path, "%s/%s", place, name);
    MUST(midge_config_set(config, "storage.path", path, NULL) == MIDGE_STATUS_OK);
    MUST(midge_config_set(config, "storage.log_size", "1MiB", NULL) == MIDGE_STATUS_OK);
    return start_with(config);
}

static void retain(midge_broker *broker, const char *topic, const char *payload)
{
    midge_publish_options options = MIDGE_PUBLISH_OPTIONS_INIT;
    options.retain = 1;
    MUST(midge_publish(broker, topic, payload, strlen(payload), &options) == MIDGE_STATUS_OK);
}

static size_t retained(midge_broker *broker)
{
    midge_retained *messages = NULL;
    size_t count;
    MUST(midge_broker_retained(broker, "#", &messages) == MIDGE_STATUS_OK);
    count = midge_retained_count(messages);
    midge_retained_free(messages);
    return count;
}

static void a_running_broker_is_copied_and_the_copy_runs(void)
{
    char path[100];
    midge_error *error = NULL;
    midge_broker *broker = start_at("store");
    midge_broker *copy;
    snprintf(path, sizeof path, "%s/copy", place);
    retain(broker, "a", "before");
    /* What is acknowledged is in the copy; a stop commits the rest. */
    midge_broker_free(broker);
    broker = start_at("store");
    CHECK_STATUS(MIDGE_STATUS_OK, midge_broker_backup(broker, path, &error));
    CHECK(error == NULL);
    retain(broker, "b", "afterwards");
    CHECK(retained(broker) == 2);
    copy = start_at("copy");
    CHECK(retained(copy) == 1);
    CHECK_STATUS(MIDGE_STATUS_INVALID_ARGUMENT, midge_broker_backup(broker, path, &error));
    CHECK(strstr(midge_error_message(error), "another broker of this process uses it") != NULL);
    midge_error_free(error);
    midge_broker_free(copy);
    CHECK_STATUS(MIDGE_STATUS_INVALID_ARGUMENT, midge_broker_backup(broker, path, &error));
    CHECK(strstr(midge_error_message(error), "there is a store here") != NULL);
    midge_error_free(error);
    CHECK_STATUS(MIDGE_STATUS_OK, midge_stop(broker, 0));
    CHECK_STATUS(MIDGE_STATUS_STATE, midge_broker_backup(broker, path, NULL));
    midge_broker_free(broker);
}

static void without_a_store_nothing_is_copied(void)
{
    midge_error *error = NULL;
    midge_broker *broker = start_with(config_on_free_port());
    CHECK_STATUS(MIDGE_STATUS_IO, midge_broker_backup(broker, place, &error));
    CHECK(strcmp(midge_error_message(error),
                 "storage.path: it is not set, so this broker has no store to copy") == 0);
    midge_error_free(error);
    midge_broker_free(broker);
}

static void the_host_sees_what_the_store_does(void)
{
    midge_storage_stats stats = MIDGE_STORAGE_STATS_INIT;
    char *trouble = NULL;
    midge_broker *broker = start_at("seen");
    uint64_t opened;
    CHECK_STATUS(MIDGE_STATUS_OK, midge_broker_storage(broker, &stats));
    CHECK(stats.struct_size == sizeof stats && stats.state == MIDGE_STORAGE_OK && stats.set_aside == 0);
    CHECK(stats.commits == 0 && stats.disk_errors == 0 && stats.log_bytes == 2 << 20 && stats.tables_bytes > 0);
    opened = stats.flushes;
    retain(broker, "a", "x");
    retain(broker, "b", "x");
    CHECK_STATUS(MIDGE_STATUS_OK, midge_broker_storage_trouble(broker, &trouble));
    CHECK(trouble != NULL && strcmp(trouble, "") == 0);
    midge_string_free(trouble);
    /* The stop commits what is left, and checkpoints it. */
    CHECK_STATUS(MIDGE_STATUS_OK, midge_stop(broker, 0));
    CHECK_STATUS(MIDGE_STATUS_OK, midge_broker_storage(broker, &stats));
    CHECK(stats.state == MIDGE_STORAGE_CLOSED && stats.committed_changes == 2 && stats.checkpoints == 1);
    CHECK(stats.commits >= 1 && stats.commits <= 2 && stats.flushes >= opened + stats.commits);
    CHECK(stats.flush_longest_us <= stats.flush_total_us && stats.waiting_acknowledgements == 0);
    CHECK(stats.flushes_to_100us + stats.flushes_to_250us + stats.flushes_to_500us + stats.flushes_to_1ms +
              stats.flushes_to_2500us + stats.flushes_to_5ms + stats.flushes_to_10ms + stats.flushes_to_25ms +
              stats.flushes_to_50ms + stats.flushes_to_100ms + stats.flushes_to_250ms + stats.flushes_to_500ms +
              stats.flushes_to_1s + stats.flushes_to_2500ms + stats.flushes_longer ==
          stats.flushes);
    midge_broker_free(broker);
}

static void a_damaged_store_is_told(void)
{
    midge_storage_stats stats = MIDGE_STORAGE_STATS_INIT;
    char path[100];
    char *trouble = NULL;
    midge_broker *broker = start_at("damaged");
    midge_config *config = config_on_free_port();
    midge_broker_free(broker);
    snprintf(path, sizeof path, "%s/damaged/midge.redb", place);
    MUST(unlink(path) == 0);
    snprintf(path, sizeof path, "%s/damaged", place);
    MUST(midge_config_set(config, "storage.path", path, NULL) == MIDGE_STATUS_OK);
    MUST(midge_config_set(config, "storage.log_size", "1MiB", NULL) == MIDGE_STATUS_OK);
    MUST(midge_config_set(config, "storage.on_damage", "set_aside", NULL) == MIDGE_STATUS_OK);
    broker = start_with(config);
    CHECK_STATUS(MIDGE_STATUS_OK, midge_broker_storage(broker, &stats));
    CHECK(stats.state == MIDGE_STORAGE_OK && stats.set_aside == 1);
    CHECK_STATUS(MIDGE_STATUS_OK, midge_broker_storage_trouble(broker, &trouble));
    CHECK(trouble != NULL && strstr(trouble, "midge.redb is missing") != NULL);
    midge_string_free(trouble);
    midge_broker_free(broker);
}

static void without_a_store_all_is_in_memory(void)
{
    midge_storage_stats stats = MIDGE_STORAGE_STATS_INIT;
    midge_broker *broker = start_with(config_on_free_port());
    stats.state = 4711;
    CHECK_STATUS(MIDGE_STATUS_OK, midge_broker_storage(broker, &stats));
    CHECK(stats.state == MIDGE_STORAGE_MEMORY && stats.flushes == 0 && stats.log_bytes == 0);
    midge_broker_free(broker);
}

int main(void)
{
    char command[200];
    MUST(mkdtemp(place) != NULL);
    RUN(a_running_broker_is_copied_and_the_copy_runs);
    RUN(without_a_store_nothing_is_copied);
    RUN(the_host_sees_what_the_store_does);
    RUN(a_damaged_store_is_told);
    RUN(without_a_store_all_is_in_memory);
    snprintf(command, sizeof command, "rm -r %s", place);
    MUST(system(command) == 0);
    FINISH();
}
