// A bot that does what the message says: examples/commands.rs in JavaScript, for the list of
// verbs that each language must pass (speech.rs). Its answers are those of the other two.
import fs from 'node:fs'
import { connect } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { Reply, run } from 'turnkey'

const BY_ID = { message: '7' }

run(async (turn) => {
  turn.state.count = (turn.state.count ?? 0) + 1
  const { count } = turn.state
  if (turn.channel === 'cron') return tick(turn, count)
  if (turn.updates.length > 1) {
    await waitAtGate(turn, turn.updates.at(-1).text)
    turn.reply(`${count}: ${together(turn)}`)
    return
  }
  const text = await waitAtGate(turn, turn.text)
  const [, command, rest = ''] = /^(\S*)(?: ([^]*))?$/.exec(text) ?? [, text]
  if (Object.hasOwn(verbs, command) && await verbs[command](turn, rest, count) !== false) return
  if (turn.called?.name === 'quiet') return
  const said = otherThanText(turn) ?? text
  turn.reply(`${count}: ${said}`)
}, { overlap: process.env.COMMANDS_OVERLAP, every: declared() })

function declared() {
  const all = process.env.COMMANDS_EVERY?.split(';').map((one) => one.split('='))
  return all && Object.fromEntries(all.map(([name, ...when]) => [name, when]))
}

function tick(turn, count) {
  const { name, late } = turn.timer
  turn.sendTo('telegram', '7', `tick ${name} ${count}${late > 60_000 ? ', late' : ''}`)
}

const verbs = {
  fail() { throw new Error('told to fail') },
  silent() {},
  many(turn, rest, count) {
    for (let i = 1; i <= Number(rest); i += 1) turn.reply(`${count}.${i}`)
  },
  ask(turn, rest) { turn.reply(new Reply(rest).button('Yes', 'yes:1').button('No', 'no')) },
  photo(turn, rest) { turn.reply(new Reply('look', { photo: rest }).button('More', 'more')) },
  rich(turn, rest) {
    turn.reply(rest, {
      format: 'markup',
      buttons: [[{ label: 'Tea', data: 'tea' }, { label: 'Menu', url: 'https://example.org/menu' }], [{ label: 'More', data: 'more' }]],
      quote: BY_ID,
      silent: true,
      noPreview: true,
      protected: true,
      name: 'menu',
    })
  },
  html(turn, rest) { turn.reply(rest, { format: 'html' }) },
  keys(turn) { turn.reply('Pick', { keyboard: ['One', ['Two', { label: 'Me', request: 'contact' }]], once: true }) },
  no(turn, rest) {
    if (rest !== 'keys') return false
    turn.reply('Gone', { removeKeyboard: true })
  },
  album(turn) {
    turn.reply('look', {
      photo: 'https://example.org/1.jpg',
      document: { path: '/srv/2.pdf', name: 'two.pdf' },
      voice: 'three',
      audio: { data: Buffer.from([0, 255]), name: '4.mp3' },
    })
  },
  where(turn) { turn.reply({ location: { latitude: 48.25, longitude: -16.5, title: 'Café' } }) },
  who(turn) { turn.reply({ contact: { phone: '+43 1 234', name: 'Ann' } }) },
  edit(turn, rest) {
    turn.edit('menu', new Reply(rest).button('More', 'more'))
    turn.edit(BY_ID, rest)
  },
  pressed(turn, rest) { turn.editPressed(rest) },
  delete(turn) {
    turn.delete('menu')
    turn.delete(BY_ID)
  },
  after(turn, rest) {
    const [delay, name, data] = rest.split(' ')
    turn.after(delay, name, data)
  },
  every(turn, rest) {
    const [, cron, zone, name, data] = /^(\S+) (\S+) (\S+) ([^]*)$/.exec(rest)
    turn.every(cron.replaceAll('_', ' '), zone, name, data)
  },
  cancel(turn, rest) { turn.cancel(rest) },
  async pay(turn, rest) {
    const [port, ...names] = rest.split(' ')
    const receipts = []
    for (const name of names) receipts.push(await turn.step(name, () => pay(port, turn.userId, name)))
    turn.reply(`paid ${receipts.join(' ')}`)
  },
  callback(turn, rest) {
    const [name, valid] = rest.split(' ')
    turn.reply(turn.callback(name, { valid }))
  },
  callbacks(turn, rest) { for (let n = 0; n < Number(rest); n += 1) turn.callback('paid') },
  asks(turn, rest) {
    const [, channel, user, name, text] = /^(\S+) (\S+) (\S+) ([^]*)$/.exec(rest)
    const yes = { label: 'Yes', data: 'yes:1' }
    const link = { label: 'Who?', url: 'https://example.org/who' }
    turn.askIn(channel, user, text, name, { buttons: [[yes, link], [{ label: 'No', data: 'no:1' }]] })
    turn.reply('asked')
  },
  toast(turn, rest) { turn.toast(rest) },
  alert(turn, rest) { turn.toast(rest, { alert: true }) },
  call(turn, rest) {
    turn.call(rest, { list: [1, null] })
    turn.call(rest, { list: [1, null] }, { name: 'dice' })
  },
  to(turn, rest) {
    const [, channel, user, text] = /^(\S+) (\S+) ([^]*)$/.exec(rest)
    turn.sendTo(channel, user, text, { silent: true })
  },
  async member(turn, rest) {
    try {
      turn.reply(JSON.stringify(await turn.ask('getChatMember', { user_id: Number(rest) })))
    } catch (error) {
      turn.reply(`no answer: ${error.message}`)
    }
  },
  fetch: (turn) => fetchOrSave(turn, async (file) => (await turn.download(file, { limit: 1000 })).length),
  save: (turn, rest) => fetchOrSave(turn, (file) => turn.download(file, { path: rest, limit: 1000 })),
  draft(turn, rest) {
    turn.draft(rest)
    turn.reply(`${rest}.`)
  },
  overlap(turn, rest) { turn.overlap(rest || null) },
  async newer(turn, rest) {
    sayThatItWaits(turn, rest)
    await turn.newer()
    turn.reply('something newer came')
  },
  async look(turn, rest) {
    sayThatItWaits(turn, rest)
    while (!await turn.hasNewer()) await sleep(5)
    turn.reply('something newer came')
  },
  async dead(turn) { turn.reply(`${(await turn.deadReplies()).length} dead`) },
  about(turn) {
    turn.reply([turn.kind, turn.event, turn.markup, turn.sender?.name, turn.chat?.id, turn.quoted?.text,
      turn.forwarded?.name, turn.message, turn.album].join('|'))
  },
}

async function pay(port, user, name) {
  const server = connect(Number(port), '127.0.0.1')
  server.write(`${user} ${name}\n`)
  let receipt = ''
  for await (const part of server) receipt += part
  if (receipt === '') throw new Error('it was not paid')
  return receipt
}

/** After `gate FILE` waits until the file is there; what is to be done then. */
async function waitAtGate(turn, text) {
  const [, file, rest = ''] = /^gate (\S+)(?: ([^]*))?$/.exec(text) ?? []
  if (file === undefined) return text
  const here = sayThatItWaits(turn, file)
  while (!fs.existsSync(file)) await sleep(5, undefined, { signal: turn.signal })
  fs.rmSync(here, { force: true })
  return rest
}

function sayThatItWaits(turn, file) {
  const here = `${file}.${turn.channel}.${turn.userId}`
  fs.writeFileSync(here, String(turn.updates.length))
  return here
}

async function fetchOrSave(turn, sizeOf) {
  const [file] = turn.files
  if (file === undefined) return false
  try {
    turn.reply(`${await sizeOf(file)} bytes`)
  } catch (error) {
    turn.reply(`no file: ${error.message}`)
  }
}

function otherThanText(turn) {
  if (turn.rpc) return `rpc ${turn.rpc.method} ${JSON.stringify(turn.rpc.params)}`
  if (turn.timer) return `timer ${turn.timer.name} ${JSON.stringify(turn.timer.data)}`
  const { called } = turn
  if (called?.by) return `callback ${called.name} ${called.button} by ${called.by.channel}:${called.by.dialog}`
  if (called) return `callback ${called.name} ${called.mediaType} ${JSON.stringify(called.body)}`
  if (turn.button !== undefined) return `button ${turn.button}`
  if (turn.kind !== 'message') return `${turn.kind} ${turn.text}`
  const { contact, files, location } = turn
  if (location) return `at ${location.latitude} ${location.longitude} ${location.title ?? ''}`
  if (contact) return `contact ${contact.phone} ${contact.name}`
  if (files.length === 0) return undefined
  const [first] = files
  const name = first.url ?? first.id
  if (turn.photos.length === files.length) return `${files.length} photos, ${name}, ${turn.text}`
  return `${files.map((file) => file.type).join(' ')}, ${name}, ${first.name ?? ''}, ${turn.text}`
}

function together(turn) {
  const texts = turn.updates.map((update) => update.text)
  if (texts.includes('fail')) throw new Error('told to fail')
  return `${texts.join('|')} as ${turn.text.replaceAll('\n', '/')}, ${turn.files.length} files`
}
