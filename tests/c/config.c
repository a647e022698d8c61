/* Settings by key and text, their errors, the table of settings. */
#include "check.h"

static int value_is(midge_config *config, const char *key, const char *value)
{
    char *text = NULL;
    int right = midge_config_get(config, key, &text, NULL) == MIDGE_STATUS_OK && strcmp(text, value) == 0;
    midge_string_free(text);
    return right;
}

static void settings_are_set_and_read_back(void)
{
    midge_config *config = NULL, *copy = NULL;
    MUST(midge_config_new(&config) == MIDGE_STATUS_OK);
    CHECK(value_is(config, "listener.tcp.bind", "127.0.0.1:1883"));
    CHECK_STATUS(MIDGE_STATUS_OK, midge_config_set(config, "mqtt.connect_timeout", "2500ms", NULL));
    CHECK(value_is(config, "mqtt.connect_timeout", "2500ms"));
    CHECK_STATUS(MIDGE_STATUS_OK, midge_config_clone(config, &copy));
    CHECK_STATUS(MIDGE_STATUS_OK, midge_config_set(config, "mqtt.connect_timeout", "1s", NULL));
    midge_config_free(config);
    CHECK(value_is(copy, "mqtt.connect_timeout", "2500ms"));
    midge_config_free(copy);
}

static void errors_name_the_key(void)
{
    midge_config *config = NULL;
    midge_error *error = NULL;
    char *text = NULL;
    MUST(midge_config_new(&config) == MIDGE_STATUS_OK);
    CHECK_STATUS(MIDGE_STATUS_CONFIG, midge_config_set(config, "mqtt.max_quos", "1", &error));
    CHECK(error_is(error, MIDGE_STATUS_CONFIG, "mqtt.max_quos: unknown setting; did you mean mqtt.max_qos?"));
    CHECK_STATUS(MIDGE_STATUS_CONFIG, midge_config_set(config, "mqtt.max_qos", "5", &error));
    CHECK(error_is(error, MIDGE_STATUS_CONFIG, "mqtt.max_qos: 5 is out of range (0 to 2)"));
    CHECK_STATUS(MIDGE_STATUS_CONFIG, midge_config_set(config, "mqtt.max_qos", "five", NULL));
    CHECK_STATUS(MIDGE_STATUS_CONFIG, midge_config_get(config, "zebra", &text, &error));
    CHECK(text == NULL && error_is(error, MIDGE_STATUS_CONFIG, "zebra"));
    CHECK_STATUS(MIDGE_STATUS_INVALID_ARGUMENT, midge_config_set(config, "mqtt.max_qos", "\xff", &error));
    CHECK(error_is(error, MIDGE_STATUS_INVALID_ARGUMENT, "value: is not UTF-8"));
    CHECK(value_is(config, "mqtt.max_qos", "2"));
    /* A key with a NUL in it does not cut the sentence off. */
    CHECK_STATUS(MIDGE_STATUS_CONFIG, midge_config_load_text(config, "[mqtt]\n\"a\\u0000b\" = 1\n", "here", &error));
    CHECK(error_is(error, MIDGE_STATUS_CONFIG, "mqtt.a\xef\xbf\xbd" "b: "));
    midge_config_free(config);
}

static void documents_are_read(void)
{
    midge_config *config = NULL;
    midge_error *error = NULL;
    FILE *file;
    char path[] = "/tmp/midge-test-XXXXXX";
    int fd = mkstemp(path);
    MUST(fd >= 0 && (file = fdopen(fd, "w")) != NULL);
    fputs("[session]\nmax_sessions = 7\n", file);
    fclose(file);
    MUST(midge_config_new(&config) == MIDGE_STATUS_OK);
    CHECK_STATUS(MIDGE_STATUS_OK, midge_config_load_file(config, path, &error));
    CHECK_STATUS(MIDGE_STATUS_OK, midge_config_load_text(config, "[mqtt]\nmax_qos = 1\n", "here", &error));
    CHECK(value_is(config, "session.max_sessions", "7") && value_is(config, "mqtt.max_qos", "1"));
    CHECK_STATUS(MIDGE_STATUS_CONFIG,
                 midge_config_load_text(config, "[mqtt]\nretain = false\nmax_qos = 9\n", "here", &error));
    CHECK(error_is(error, MIDGE_STATUS_CONFIG, "here:3:1: mqtt.max_qos: 9 is out of range"));
    CHECK(value_is(config, "mqtt.retain", "true"));
    unlink(path);
    CHECK_STATUS(MIDGE_STATUS_IO, midge_config_load_file(config, path, &error));
    CHECK(error_is(error, MIDGE_STATUS_IO, path));
    midge_config_free(config);
}

static void keys_are_listed(void)
{
    midge_config *config = NULL;
    size_t index, count;
    int found = 0;
    MUST(midge_config_new(&config) == MIDGE_STATUS_OK);
    count = midge_config_key_count(config);
    CHECK(count == midge_setting_count());
    for (index = 0; index < count; index++) {
        char *text = NULL;
        CHECK_STATUS(MIDGE_STATUS_OK, midge_config_get(config, midge_config_key_at(config, index), &text, NULL));
        midge_string_free(text);
    }
    CHECK(midge_config_key_at(config, count) == NULL && midge_config_key_at(config, (size_t)-1) == NULL);
    CHECK_STATUS(MIDGE_STATUS_OK, midge_config_set(config, "listener.lan.bind", "[::1]:0", NULL));
    CHECK(midge_config_key_count(config) > count);
    for (index = 0; index < midge_config_key_count(config); index++)
        found += strcmp(midge_config_key_at(config, index), "listener.lan.bind") == 0;
    CHECK(found == 1);
    midge_config_free(config);
}

static void the_table_of_settings_describes_itself(void)
{
    size_t index;
    int found = 0;
    midge_setting_view view = MIDGE_SETTING_VIEW_INIT;
    for (index = 0; index < midge_setting_count(); index++) {
        CHECK_STATUS(MIDGE_STATUS_OK, midge_setting_at(index, &view));
        CHECK(view.key.len > 0 && view.range.len > 0 && view.help.len > 0);
        if (bytes_are(view.key, "mqtt.max_qos")) {
            CHECK(bytes_are(view.kind, "integer") && bytes_are(view.default_value, "2"));
            CHECK(bytes_are(view.range, "0 to 2"));
            found++;
        }
    }
    CHECK(found == 1);
    CHECK_STATUS(MIDGE_STATUS_INVALID_ARGUMENT, midge_setting_at(index, &view));
}

static void a_broker_keeps_a_copy_of_its_own(void)
{
    midge_config *config = config_on_free_port();
    midge_broker *broker = NULL;
    MUST(midge_config_set(config, "mqtt.max_qos", "1", NULL) == MIDGE_STATUS_OK);
    MUST(midge_start(config, &broker, NULL) == MIDGE_STATUS_OK);
    MUST(midge_config_set(config, "mqtt.max_qos", "2", NULL) == MIDGE_STATUS_OK);
    {
        midge_publish_options options = MIDGE_PUBLISH_OPTIONS_INIT;
        options.qos = 2;
        CHECK_STATUS(MIDGE_STATUS_INVALID_ARGUMENT, midge_publish(broker, "a", "b", 1, &options));
    }
    midge_config_free(config);
    midge_broker_free(broker);
}

int main(void)
{
    RUN(settings_are_set_and_read_back);
    RUN(errors_name_the_key);
    RUN(documents_are_read);
    RUN(keys_are_listed);
    RUN(the_table_of_settings_describes_itself);
    RUN(a_broker_keeps_a_copy_of_its_own);
    FINISH();
}
