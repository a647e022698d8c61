// A program outside of Midge's tree, in C++: a broker on a free port, and a callback.
#include <midge.h>

#include <future>
#include <iostream>
#include <memory>
#include <string>

namespace {

struct Free {
    void operator()(midge_config *config) const { midge_config_free(config); }
    void operator()(midge_broker *broker) const { midge_broker_free(broker); }
    void operator()(midge_subscription *subscription) const { midge_subscription_free(subscription); }
};

template <typename Handle> using Owned = std::unique_ptr<Handle, Free>;

extern "C" void hear(const midge_message *message, void *promise)
{
    const midge_bytes payload = midge_message_payload(message);
    static_cast<std::promise<std::string> *>(promise)->set_value({static_cast<const char *>(payload.data), payload.len});
}

} // namespace

int main()
{
    midge_config *made = nullptr;
    if (midge_config_new(&made) != MIDGE_STATUS_OK)
        return 1;
    const Owned<midge_config> config(made);
    midge_broker *started = nullptr;
    if (midge_config_set(config.get(), "listener.tcp.bind", "127.0.0.1:0", nullptr) != MIDGE_STATUS_OK ||
        midge_start(config.get(), &started, nullptr) != MIDGE_STATUS_OK)
        return 1;
    const Owned<midge_broker> broker(started);
    std::promise<std::string> heard;
    midge_subscription *subscribed = nullptr;
    midge_subscribe_options options = MIDGE_SUBSCRIBE_OPTIONS_INIT;
    options.qos = 0;
    if (midge_subscribe(broker.get(), "greeting/#", &options, hear, &heard, nullptr, &subscribed, nullptr) != MIDGE_STATUS_OK)
        return 1;
    const Owned<midge_subscription> subscription(subscribed);
    if (midge_publish(broker.get(), "greeting/cxx", "hello", 5, nullptr) != MIDGE_STATUS_OK)
        return 1;
    const std::string payload = heard.get_future().get();
    std::cout << payload << " from C++ on " << midge_broker_address(broker.get(), nullptr) << '\n';
    return payload == "hello" ? 0 : 1;
}
