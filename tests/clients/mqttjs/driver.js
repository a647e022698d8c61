// Drives MQTT.js for the tests: a command on each line of the input, an event on each line of the output, in JSON.
'use strict'

const readline = require('readline')
const mqtt = require('mqtt')

const clients = new Map()
const say = (event) => process.stdout.write(JSON.stringify(event) + '\n')

const text = (packet) => ({
  topic: packet.topic,
  payload: Buffer.from(packet.payload).toString('base64'),
  qos: packet.qos,
  retain: packet.retain,
  dup: packet.dup,
  properties: packet.properties || {}
})

const bytes = (message) => ({ ...message, payload: Buffer.from(message.payload || '', 'base64') })

const commands = {
  connect ({ client, url, options }) {
    if (options.will) options.will = bytes(options.will)
    const made = mqtt.connect(url, { reconnectPeriod: 0, ...options })
    clients.set(client, made)
    made.on('connect', (packet) => say({
      client, event: 'connect', sessionPresent: packet.sessionPresent, properties: packet.properties || {}
    }))
    made.on('message', (topic, payload, packet) => say({ client, event: 'message', ...text({ ...packet, topic, payload }) }))
    made.on('disconnect', (packet) => say({ client, event: 'disconnect', reason: packet.reasonCode }))
    made.on('close', () => say({ client, event: 'close' }))
    made.on('error', (error) => say({ client, event: 'error', text: error.message }))
  },
  subscribe ({ client, filters, options }) {
    clients.get(client).subscribe(filters, options || {}, (error, granted) => say({
      client, event: 'subscribe', error: error ? error.message : null, granted: (granted || []).map((one) => one.qos)
    }))
  },
  unsubscribe ({ client, filter }) {
    clients.get(client).unsubscribe(filter, (error) => say({ client, event: 'unsubscribe', error: error ? error.message : null }))
  },
  publish ({ client, topic, payload, options }) {
    clients.get(client).publish(topic, Buffer.from(payload, 'base64'), options, (error) => say({
      client, event: 'publish', error: error ? error.message : null
    }))
  },
  // Says goodbye.
  end ({ client }) {
    clients.get(client).end(false)
  },
  // Ends the connection without a word.
  destroy ({ client }) {
    clients.get(client).stream.destroy()
  }
}

readline.createInterface({ input: process.stdin })
  .on('line', (line) => {
    const command = JSON.parse(line)
    commands[command.command](command)
  })
  .on('close', () => process.exit(0))
