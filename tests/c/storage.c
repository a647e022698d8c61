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

int main(void)
{
    char command[200];
    MUST(mkdtemp(place) != NULL);
    RUN(a_running_broker_is_copied_and_the_copy_runs);
    RUN(without_a_store_nothing_is_copied);
    snprintf(command, sizeof command, "rm -r %s", place);
    MUST(system(command) == 0);
    FINISH();
}
