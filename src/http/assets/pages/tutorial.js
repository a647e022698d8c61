// The first message, in three steps that tick themselves off.

import { get } from '../lib/api.js';
import { h, icon, put } from '../lib/dom.js';
import { t, tx } from '../lib/i18n.js';
import { broker, repeat } from '../lib/live.js';
import { code, heading, sayError } from '../lib/widgets.js';

const SUBSCRIBE = (host, port) => `import paho.mqtt.client as mqtt

def on_connect(client, userdata, flags, rc):
    print("Connected with result code " + str(rc))
    client.subscribe("chat", qos=0)

def on_message(client, userdata, msg):
    print(msg.topic + " :" + str(msg.payload))

client = mqtt.Client()
client.on_connect = on_connect
client.on_message = on_message
client.connect("${host}", ${port}, 60)
client.loop_forever()
`;

const PUBLISH = (host, port) => `import paho.mqtt.client as mqtt

client = mqtt.Client()
client.connect("${host}", ${port}, 60)
client.publish("chat", payload="hello tao", qos=0)
client.loop_forever()
`;

/** Shows the page in `view`; gives what ends it. */
export function mount(view) {
  const list = h('ol', { class: 'steps' });
  const finished = h('p', { class: 'verdict good', role: 'status', hidden: true }, icon('check'), h('span', {}, h('strong', {}, t('Done.')), ' ', t('You have used a broker, a subscriber and a publisher. One message was delivered, another was dropped.')));
  put(view, heading(t('Tutorial'), t('Your first message in four steps. Each step is checked off when the broker sees it.')), finished, list);
  let steps = [];
  let shown = '';
  let end = () => {};

  async function draw(host, port) {
    steps = [
      ['subscribe', t('Start the subscriber'), [
        h('p', {}, tx('You need Python and the client library: {command}', { command: h('code', {}, 'pip install paho-mqtt') })), h('p', {}, tx('Save this as {file}:', { file: h('code', {}, 'subscribe.py') })), code(SUBSCRIBE(host, port), 'subscribe.py'),
        h('p', {}, tx('Run it in a terminal of its own. It prints {line} and waits:', { line: h('code', {}, 'Connected with result code 0') })), code('python3 subscribe.py', t('Command')),
        h('p', { class: 'muted' }, tx('{link} now shows one client, and {other} the filter chat.', { link: h('a', { href: '#/clients' }, t('Clients')), other: h('a', { href: '#/subscriptions' }, t('Subscriptions')) }))]],
      ['publish', t('Publish a message'), [
        h('p', {}, tx('Save this as {file}:', { file: h('code', {}, 'publish.py') })), code(PUBLISH(host, port), 'publish.py'), h('p', {}, t('Run it in a second terminal. It stays connected, too:')), code('python3 publish.py', t('Command'))]],
      ['received', t('Receive it'), [
        h('p', {}, tx('The subscriber prints {line}. The broker received the message from one client and sent it to the other; the two do not know each other.', { line: h('code', {}, "chat :b'hello tao'") })),
        h('p', { class: 'muted' }, tx('{link} shows two clients now, and {other} the topic chat with its last message.', { link: h('a', { href: '#/clients' }, t('Clients')), other: h('a', { href: '#/topics?topic=chat' }, t('Topics')) }))]],
      ['lesson', t('Lose a message'), [
        h('p', {}, t('Stop both scripts with Ctrl-C. Start the publisher first, then the subscriber: it prints nothing. The message was published before anyone subscribed, and MQTT does not keep it.')),
        h('p', {}, tx('{link} shows which message was dropped and why. Start the subscriber first, or publish with “retain”.', { link: h('a', { href: '#/drops' }, t('Drops')) }))]],
    ].map(([id, title, body], at) => {
      const mark = h('span', { class: 'mark' }, String(at + 1));
      const state = h('span', { class: 'sr' });
      const details = h('details', {}, h('summary', {}, mark, h('h2', {}, title), state), h('div', { class: 'step-body' }, body));
      return { id, mark, state, details, node: h('li', {}, details), number: String(at + 1) };
    });
    put(list, steps.map((step) => step.node));
    end = repeat(tick, 2000);
  }

  async function tick() {
    try {
      const answer = await get('tutorial');
      const done = new Map(answer.steps.map((step) => [step.id, step.done]));
      const signature = JSON.stringify([...done]);
      if (signature === shown) return;
      shown = signature;
      const next = steps.find((step) => !done.get(step.id));
      for (const step of steps) {
        const is = done.get(step.id) === true;
        step.node.classList.toggle('done', is);
        put(step.mark, is ? icon('check') : step.number);
        put(step.state, is ? t('done') : t('to do'));
        step.details.open = step === next;
      }
      finished.hidden = Boolean(next);
    } catch (error) {
      if (error.status) sayError(error);
    }
  }

  const onActivity = () => end.now?.();
  broker.activityWatchers.add(onActivity);
  address().then(([host, port]) => draw(host, port));
  return () => {
    broker.activityWatchers.delete(onActivity);
    end();
  };
}

/** Host and port of the listener, for the scripts. */
async function address() {
  try {
    const { items } = await get('listeners');
    const text = (items.find((one) => one.name === 'tcp') ?? items[0]).address;
    const at = text.lastIndexOf(':');
    const host = text.slice(0, at).replace(/^\[|\]$/g, '');
    return [host === '0.0.0.0' || host === '::' ? location.hostname : host, Number(text.slice(at + 1)) || 1883];
  } catch {
    return ['127.0.0.1', 1883];
  }
}
