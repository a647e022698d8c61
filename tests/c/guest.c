/* What a broker does to the process that it is a guest in: its threads, signals, streams, and the memory of its host. */
#include "check.h"

#include <dirent.h>
#include <sys/stat.h>
#include <sys/wait.h>

/* The number of threads whose name begins with `name`. */
static int threads_named(const char *name)
{
    DIR *tasks = opendir("/proc/self/task");
    struct dirent *task;
    int count = 0;
    MUST(tasks != NULL);
    while ((task = readdir(tasks)) != NULL) {
        char path[300], found[32] = "";
        FILE *file;
        snprintf(path, sizeof path, "/proc/self/task/%s/comm", task->d_name);
        file = fopen(path, "r");
        if (file == NULL)
            continue;
        if (fgets(found, sizeof found, file) != NULL && strncmp(found, name, strlen(name)) == 0)
            count++;
        fclose(file);
    }
    closedir(tasks);
    return count;
}

/* Whether so many threads have such a name; a thread takes its name when it begins. */
static int threads_become(const char *name, int count)
{
    int tries;
    struct timespec pause = { 0, 1000000 };
    for (tries = 0; threads_named(name) != count; tries++) {
        if (tries > PATIENCE * 1000)
            return 0;
        nanosleep(&pause, NULL);
    }
    return 1;
}

static void ignore(const midge_message *message, void *user_data)
{
    (void)message;
    (void)user_data;
}

/* Asks the console for something that a viewer may see. */
static void look(midge_broker *broker)
{
    static const char request[] = "GET /api/v1/overview HTTP/1.1\r\nHost: localhost\r\n"
                                  "Authorization: Basic YWRtaW46cHVibGlj\r\n\r\n";
    char answer[13] = "";
    int fd = dial(midge_broker_console_address(broker));
    send_all(fd, request, sizeof request - 1);
    receive(fd, answer, 12);
    CHECK(strcmp(answer, "HTTP/1.1 200") == 0);
    close(fd);
}

static void its_threads_have_names_and_are_as_many_as_are_needed(void)
{
    midge_config *config = config_on_free_port();
    midge_subscription *subscription = NULL;
    midge_broker *broker;
    MUST(midge_config_set(config, "runtime.worker_threads", "3", NULL) == MIDGE_STATUS_OK);
    MUST(midge_config_set(config, "console.listen", "127.0.0.1:0", NULL) == MIDGE_STATUS_OK);
    MUST(midge_config_set(config, "console.tutorial", "true", NULL) == MIDGE_STATUS_OK);
    CHECK(threads_named("midge") == 0);
    broker = start_with(config);
    CHECK(threads_become("midge", 3) && threads_named("midge-0") == 1 && threads_named("midge-1") == 1);
    MUST(midge_subscribe(broker, "t", NULL, ignore, NULL, NULL, &subscription, NULL) == MIDGE_STATUS_OK);
    CHECK(threads_become("midge-callback", 1) && threads_named("midge") == 4);
    look(broker);
    CHECK(threads_become("midge", 5));
    CHECK_STATUS(MIDGE_STATUS_OK, midge_stop(broker, 0));
    /* The system forgets a thread a moment after it was joined. */
    CHECK(threads_become("midge", 0));
    midge_subscription_free(subscription);
    midge_broker_free(broker);
}

/* Whether both threads of the broker block the signals of `must` and none of `must_not`. */
static int threads_block(unsigned long must, unsigned long must_not)
{
    DIR *tasks = opendir("/proc/self/task");
    struct dirent *task;
    int seen = 0;
    MUST(tasks != NULL);
    while ((task = readdir(tasks)) != NULL) {
        char path[300], line[128], name[32] = "";
        unsigned long mask = 0;
        FILE *file;
        snprintf(path, sizeof path, "/proc/self/task/%s/status", task->d_name);
        file = fopen(path, "r");
        if (file == NULL)
            continue;
        while (fgets(line, sizeof line, file) != NULL) {
            (void)sscanf(line, "Name: %31s", name);
            (void)sscanf(line, "SigBlk: %lx", &mask);
        }
        fclose(file);
        if (strncmp(name, "midge", 5) == 0 && (mask & must) == must && (mask & must_not) == 0)
            seen++;
    }
    closedir(tasks);
    return seen == 2;
}

/* The same within a while: valgrind blocks more, but for a thread that waits in a system call. */
static int threads_come_to_block(unsigned long must, unsigned long must_not)
{
    int tries;
    struct timespec pause = { 0, 1000000 };
    for (tries = 0; !threads_block(must, must_not); tries++) {
        if (tries > PATIENCE * 1000)
            return 0;
        nanosleep(&pause, NULL);
    }
    return 1;
}

static void it_handles_no_signal_and_leaves_them_to_the_threads_of_its_host(void)
{
    static const int blocked[] = { SIGPIPE, SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2, SIGALRM, SIGCHLD };
    struct sigaction before[32], after;
    sigset_t mask, mask_after;
    midge_subscription *subscription = NULL;
    unsigned long expected = 0;
    midge_broker *broker;
    int number;
    size_t index;
    for (number = 1; number < 32; number++)
        MUST(sigaction(number, NULL, &before[number]) == 0);
    MUST(pthread_sigmask(SIG_BLOCK, NULL, &mask) == 0);
    broker = start();
    MUST(midge_subscribe(broker, "t", NULL, ignore, NULL, NULL, &subscription, NULL) == MIDGE_STATUS_OK);
    close(client_connect(broker, "c"));
    for (index = 0; index < sizeof blocked / sizeof *blocked; index++)
        expected |= 1ul << (blocked[index] - 1);
    CHECK(threads_become("midge", 2));
    /* Signals of a fault, and any other, are as they were. */
    CHECK(threads_come_to_block(expected, 1ul << (SIGSEGV - 1) | 1ul << (SIGABRT - 1) | 1ul << (SIGQUIT - 1)));
    midge_subscription_free(subscription);
    midge_broker_free(broker);
    for (number = 1; number < 32; number++) {
        MUST(sigaction(number, NULL, &after) == 0);
        CHECK(memcmp(&before[number].sa_handler, &after.sa_handler, sizeof after.sa_handler) == 0);
    }
    MUST(pthread_sigmask(SIG_BLOCK, NULL, &mask_after) == 0);
    for (number = 1; number < 32; number++)
        CHECK(sigismember(&mask, number) == sigismember(&mask_after, number));
}

/* In a child whose streams are a file. */
static void it_writes_nothing_to_the_standard_streams(void)
{
    FILE *file = tmpfile();
    struct stat written;
    const int failed = check_failures;
    int status = -1;
    pid_t child;
    MUST(file != NULL);
    fflush(stdout);
    child = fork();
    if (child == 0) {
        midge_config *config = config_on_free_port();
        midge_broker *broker;
        int fd;
        dup2(fileno(file), STDOUT_FILENO);
        dup2(fileno(file), STDERR_FILENO);
        if (midge_config_set(config, "mqtt.max_connections", "1", NULL) != MIDGE_STATUS_OK)
            _exit(1);
        broker = start_with(config);
        fd = client_connect(broker, "a");
        /* One that is turned away, and one that breaks the rules. */
        (void)is_closed_by_peer(client_dial(broker));
        send_all(fd, "\xff\xff\xff\xff\xff", 5);
        (void)is_closed_by_peer(fd);
        (void)publish_text(broker, "t", "nobody hears it");
        (void)midge_config_set(NULL, "nonsense", "x", NULL);
        midge_broker_free(broker);
        _exit(check_failures == failed ? 0 : 1);
    }
    MUST(waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    MUST(fstat(fileno(file), &written) == 0);
    CHECK(written.st_size == 0);
    fclose(file);
}

static void it_reads_arguments_during_the_call(void)
{
    char key[] = "mqtt.max_qos", value[] = "1", topic[] = "a/b", payload[] = "payload", name[] = "name", text[] = "text";
    char filter[] = "a/+", read_back[8] = "";
    const midge_user_property property = { name, text };
    midge_publish_options options = MIDGE_PUBLISH_OPTIONS_INIT;
    midge_bytes name_read = MIDGE_BYTES_INIT, value_read = MIDGE_BYTES_INIT;
    midge_config *config = config_on_free_port();
    midge_subscription *subscription = NULL;
    midge_queue *queue = NULL;
    midge_batch *batch = NULL;
    midge_broker *broker;
    const midge_message *message;
    char *setting = NULL;
    MUST(midge_config_set(config, key, value, NULL) == MIDGE_STATUS_OK);
    memset(key, 'x', sizeof key - 1);
    memset(value, 'x', sizeof value - 1);
    MUST(midge_config_get(config, "mqtt.max_qos", &setting, NULL) == MIDGE_STATUS_OK);
    strncpy(read_back, setting, sizeof read_back - 1);
    CHECK(strcmp(read_back, "1") == 0);
    midge_string_free(setting);
    broker = start_with(config);
    MUST(midge_queue_new(broker, NULL, &queue) == MIDGE_STATUS_OK);
    MUST(midge_queue_subscribe(queue, filter, NULL, 0, &subscription, NULL) == MIDGE_STATUS_OK);
    memset(filter, 'x', sizeof filter - 1);
    options.user_properties = &property;
    options.user_property_count = 1;
    MUST(midge_publish(broker, topic, payload, sizeof payload - 1, &options) == MIDGE_STATUS_OK);
    memset(topic, 'x', sizeof topic - 1);
    memset(payload, 'x', sizeof payload - 1);
    memset(name, 'x', sizeof name - 1);
    memset(text, 'x', sizeof text - 1);
    MUST(midge_queue_poll(queue, 1, PATIENCE * 1000, &batch) == MIDGE_STATUS_OK);
    message = midge_batch_at(batch, 0);
    CHECK(bytes_are(midge_message_topic(message), "a/b") && bytes_are(midge_message_payload(message), "payload"));
    CHECK_STATUS(MIDGE_STATUS_OK, midge_message_user_property_at(message, 0, &name_read, &value_read));
    CHECK(bytes_are(name_read, "name") && bytes_are(value_read, "text"));
    midge_batch_free(batch);
    midge_subscription_free(subscription);
    midge_queue_free(queue);
    midge_broker_free(broker);
}

int main(void)
{
    RUN(its_threads_have_names_and_are_as_many_as_are_needed);
    RUN(it_handles_no_signal_and_leaves_them_to_the_threads_of_its_host);
    RUN(it_writes_nothing_to_the_standard_streams);
    RUN(it_reads_arguments_during_the_call);
    FINISH();
}
