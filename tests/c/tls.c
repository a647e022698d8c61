/* What the host sees of TLS: a client's certificate, handshakes that failed, certificates that are read again.
 * run.sh has made the certificates with openssl, and names their directory; the clients are `openssl s_client`. */
#include "check.h"

/* CONNECT of MQTT 3.1.1 with the client identifier `a`, for printf. */
#define CONNECT "\\020\\015\\000\\004MQTT\\004\\002\\000\\000\\000\\001a"

typedef struct {
    const char *folder;
    event asked;
    event connected;
    event freed;
} host;

/* The path of a file of the certificates. */
static const char *file(const host *host_of, const char *name, char *path, size_t size)
{
    snprintf(path, size, "%s/%s", host_of->folder, name);
    return path;
}

/* The first line of such a file. */
static const char *line_of(const host *host_of, const char *name, char *line, size_t size)
{
    char path[512];
    FILE *stream = fopen(file(host_of, name, path, sizeof path), "r");
    MUST(stream != NULL && fgets(line, (int)size, stream) != NULL);
    fclose(stream);
    line[strcspn(line, "\n")] = '\0';
    return line;
}

static void freed(void *user_data)
{
    event_add(&((host *)user_data)->freed);
}

/* The certificate of `device-1`, as run.sh has made it. */
static void check_tls(const host *host_of, const midge_tls_view *tls)
{
    char line[256];
    time_t now = time(NULL);
    MUST(tls != NULL);
    CHECK(tls->struct_size == sizeof *tls && bytes_are(tls->version, "TLS 1.3"));
    CHECK(bytes_are(tls->cipher, "TLS13_AES_256_GCM_SHA384"));
    CHECK(bytes_are(tls->server_name, "localhost") && bytes_are(tls->protocol, "mqtt"));
    CHECK(bytes_are(tls->common_name, "device-1") && bytes_are(tls->names, "DNS:device.example"));
    CHECK(bytes_are(tls->subject, "CN=device-1,O=Example") && bytes_are(tls->issuer, "CN=Test CA"));
    CHECK(bytes_are(tls->fingerprint, line_of(host_of, "device.fingerprint", line, sizeof line)));
    /* It was made a moment ago, for 30 days. */
    CHECK(tls->not_after > now + 29 * 86400 && tls->not_after <= now + 30 * 86400);
    CHECK(tls->resumed == 0);
}

static int32_t authenticate(const midge_connect_request *request, midge_decision *decision, void *user_data)
{
    (void)decision;
    CHECK(bytes_are(request->listener, "secure"));
    check_tls((const host *)user_data, request->tls);
    event_add(&((host *)user_data)->asked);
    return MIDGE_ALLOW;
}

static void connected(const midge_connection_view *view, void *user_data)
{
    check_tls((const host *)user_data, view->tls);
    event_add(&((host *)user_data)->connected);
}

/* A broker with the listener `secure`, which wants certificates of the clients. */
static midge_broker *start_secure(host *host_of)
{
    static const char *const files[][2] = {
        { "certificate", "server.pem" }, { "key", "server.key" }, { "client_ca", "ca.pem" },
    };
    static const host fresh = { NULL, EVENT_INIT, EVENT_INIT, EVENT_INIT };
    midge_hooks hooks = MIDGE_HOOKS_INIT;
    midge_config *config = config_on_free_port();
    char key[64], path[512];
    size_t i;
    *host_of = fresh;
    host_of->folder = getenv("MIDGE_TLS_FILES");
    MUST(host_of->folder != NULL);
    hooks.user_data = host_of;
    hooks.free_user_data = freed;
    hooks.authenticate = authenticate;
    hooks.on_connected = connected;
    MUST(midge_config_set(config, "listener.secure.bind", "127.0.0.1:0", NULL) == MIDGE_STATUS_OK);
    MUST(midge_config_set(config, "listener.secure.transport", "tls", NULL) == MIDGE_STATUS_OK);
    MUST(midge_config_set(config, "listener.secure.client_certificate", "required", NULL) == MIDGE_STATUS_OK);
    for (i = 0; i < 3; i++) {
        snprintf(key, sizeof key, "listener.secure.%s", files[i][0]);
        file(host_of, files[i][1], path, sizeof path);
        MUST(midge_config_set(config, key, path, NULL) == MIDGE_STATUS_OK);
    }
    MUST(midge_config_set_hooks(config, &hooks) == MIDGE_STATUS_OK);
    return start_with(config);
}

/* Runs `openssl s_client` with these options in front of `then`; its output can be read. */
static FILE *client(const host *host_of, midge_broker *broker, const char *before, const char *options, const char *then)
{
    char command[2048];
    FILE *stream;
    snprintf(command, sizeof command,
             "%s | openssl s_client -connect %s -CAfile %s/ca.pem -servername localhost -alpn mqtt %s 2>/dev/null %s", before,
             midge_broker_address(broker, "secure"), host_of->folder, options, then);
    stream = popen(command, "r");
    MUST(stream != NULL);
    return stream;
}

/* A client with the certificate of `device-1`, which has its CONNACK. */
static FILE *device(const host *host_of, midge_broker *broker)
{
    char options[2048];
    unsigned char connack[4];
    FILE *stream;
    snprintf(options, sizeof options, "-quiet -cert %s/device.pem -key %s/device.key", host_of->folder, host_of->folder);
    stream = client(host_of, broker, "printf '" CONNECT "'", options, "");
    CHECK(fread(connack, 1, 4, stream) == 4 && memcmp(connack, "\x20\x02\0\0", 4) == 0);
    return stream;
}

static void a_clients_certificate_is_told(void)
{
    host host_of;
    midge_broker *broker = start_secure(&host_of);
    midge_clients *clients = NULL;
    midge_client_view view = MIDGE_CLIENT_VIEW_INIT;
    midge_listener_view listener = MIDGE_LISTENER_VIEW_INIT;
    FILE *stream = device(&host_of, broker);
    CHECK(event_wait(&host_of.connected, 1) && event_count(&host_of.asked) == 1);
    MUST(midge_broker_clients(broker, &clients) == MIDGE_STATUS_OK);
    MUST(midge_clients_count(clients) == 1 && midge_clients_at(clients, 0, &view) == MIDGE_STATUS_OK);
    CHECK(bytes_are(view.client_id, "a"));
    check_tls(&host_of, view.tls);
    midge_clients_free(clients);
    MUST(midge_broker_listener_at(broker, 1, &listener) == MIDGE_STATUS_OK);
    CHECK(bytes_are(listener.name, "secure") && bytes_are(listener.transport, "tls"));
    CHECK(listener.connections == 1 && listener.accepted == 1 && listener.handshake_failures == 0);
    CHECK_STATUS(MIDGE_STATUS_OK, midge_stop(broker, 0));
    pclose(stream);
    midge_broker_free(broker);
    CHECK(event_count(&host_of.freed) == 1);
}

static void a_client_without_a_certificate_is_counted_with_its_reason(void)
{
    host host_of;
    midge_broker *broker = start_secure(&host_of);
    midge_listener_view listener = MIDGE_LISTENER_VIEW_INIT;
    midge_listeners *listeners = NULL;
    midge_handshake_failure_view failure = MIDGE_HANDSHAKE_FAILURE_VIEW_INIT;
    /* Its output ends with the connection. */
    FILE *stream = client(&host_of, broker, "printf '" CONNECT "'", "-quiet", "");
    CHECK(fgetc(stream) == EOF);
    pclose(stream);
    /* The broker counts it when it sees the end, too. */
    do {
        MUST(midge_broker_listener_at(broker, 1, &listener) == MIDGE_STATUS_OK);
    } while (listener.handshake_failures == 0);
    CHECK(listener.accepted == 1 && listener.handshake_failures == 1 && listener.failure_reasons == 1);
    MUST(midge_broker_listeners(broker, &listeners) == MIDGE_STATUS_OK);
    CHECK_STATUS(MIDGE_STATUS_OK, midge_listeners_failure_at(listeners, 1, 0, &failure));
    CHECK(bytes_are(failure.reason, "tls: the client has sent no certificate (client_certificate)") && failure.count == 1);
    midge_listeners_free(listeners);
    CHECK(event_count(&host_of.asked) == 0);
    midge_broker_free(broker);
}

/* Whether the broker shows a certificate with this subject. */
static int shows(const host *host_of, midge_broker *broker, const char *subject)
{
    char line[256] = "";
    FILE *stream = client(host_of, broker, "true", "", "| openssl x509 -noout -subject -nameopt RFC2253");
    CHECK(fgets(line, sizeof line, stream) != NULL);
    pclose(stream);
    line[strcspn(line, "\n")] = '\0';
    return strcmp(line, subject) == 0;
}

static void certificates_are_read_again(void)
{
    host host_of;
    midge_broker *broker = start_secure(&host_of);
    midge_error *error = NULL;
    midge_clients *clients = NULL;
    char path[512], kept[512], other[512];
    FILE *stream = device(&host_of, broker);
    CHECK(shows(&host_of, broker, "subject=CN=localhost"));
    file(&host_of, "server.pem", path, sizeof path);
    file(&host_of, "server.kept", kept, sizeof kept);
    MUST(rename(path, kept) == 0);
    CHECK_STATUS(MIDGE_STATUS_CONFIG, midge_broker_reload_certificates(broker, &error));
    CHECK(strstr(midge_error_message(error), "listener.secure.certificate") != NULL);
    CHECK(strstr(midge_error_message(error), path) != NULL);
    midge_error_free(error);
    CHECK(shows(&host_of, broker, "subject=CN=localhost"));
    MUST(rename(file(&host_of, "renewed.pem", other, sizeof other), path) == 0);
    CHECK_STATUS(MIDGE_STATUS_OK, midge_broker_reload_certificates(broker, NULL));
    CHECK(shows(&host_of, broker, "subject=CN=localhost,O=Renewed"));
    /* The client stays. */
    MUST(midge_broker_clients(broker, &clients) == MIDGE_STATUS_OK);
    CHECK(midge_clients_count(clients) == 1);
    midge_clients_free(clients);
    MUST(rename(path, other) == 0 && rename(kept, path) == 0);
    CHECK_STATUS(MIDGE_STATUS_OK, midge_stop(broker, 0));
    pclose(stream);
    midge_broker_free(broker);
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
    if (getenv("MIDGE_TLS_FILES") == NULL) {
        printf("skipped: TLS: MIDGE_TLS_FILES names no directory with certificates\n");
        return 0;
    }
    RUN(a_clients_certificate_is_told);
    RUN(a_client_without_a_certificate_is_counted_with_its_reason);
    RUN(certificates_are_read_again);
    FINISH();
}
