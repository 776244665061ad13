// Turnkey's SDK for handlers in JavaScript: what `require('turnkey')` gives; index.mjs
// gives the same to `import`.
//
// Called by a bot's own file. It speaks the protocol of docs/HANDLERS.md: version 1.
// Invariants: each turn is answered once, when its handler has ended, not before; a handler
// that fails fails its own turn. Bounds: Turnkey never sends more turns at once than
// `concurrency`; a name of 64 bytes, a line for the log of 8 KiB.
'use strict'

const path = require('node:path')
const { format, inspect } = require('node:util')
const { KINDS, escapeMarkup } = require('./content.js')
const { cut, toFail } = require('./fail.js')
const pipes = require('./pipes.js')
const { checkGivenUp, either } = require('./given_up.js')
const { Reply } = require('./reply.js')
const { GiveUp, Retry, Turn, cancelTurn, endTurn, takeDone } = require('./turn.js')
const { OVERLAPS, describe, isOverlap, line } = require('./values.js')

const PROTOCOL = 1
/** What may have a state in a group. */
const DIALOGS = ['user', 'chat', 'user_in_chat']
const MAX_NAME = 64
const MAX_CONCURRENCY = 65536
const MAX_LOG = 8 * 1024

// Of the whole process, however many copies of this file it has loaded: there is one pipe.
const RUNNING = Symbol.for('turnkey.running')

/** The bot's handler takes turns from Turnkey, until Turnkey has no more use for it. */
function run(handle, options = {}) {
  const hello = checkOptions(handle, options)
  if (globalThis[RUNNING]) {
    throw new Error('run was called before: a process has one handler; let it look at turn.command and the like')
  }
  globalThis[RUNNING] = true
  // A test has imported the bot's file for its handler.
  if (globalThis[Symbol.for('turnkey.testing')]) return
  const reason = pipes.trouble(path.basename(process.argv[1] ?? 'bot.mjs'))
  if (reason !== undefined) {
    console.error(reason)
    process.exit(2)
  }
  // What is in hand ends; then Turnkey closes the pipe, which is the end.
  process.on('SIGTERM', () => {})
  process.on('SIGINT', () => {})
  const connection = new Connection(either(handle, options.givenUp), hello)
  pipes.read((text) => connection.take(text), leave)
}

function checkOptions(handle, options) {
  if (typeof handle !== 'function') {
    throw new TypeError(`run: a handler is wanted, such as async (turn) => { … }, not ${describe(handle)}`)
  }
  const { concurrency = 1000, raw = false, hears = [], dialogBy, overlap, every, givenUp, name, ...others } = options
  for (const other of Object.keys(others)) {
    throw new TypeError(`run: there is no option ${other}; there are concurrency, raw, hears, dialogBy, overlap, every, givenUp and name`)
  }
  if (!Number.isInteger(concurrency) || concurrency < 1 || concurrency > MAX_CONCURRENCY) {
    throw new RangeError(`run: concurrency: a whole number of 1 to ${MAX_CONCURRENCY} is wanted, not ${describe(concurrency)}`)
  }
  if (typeof raw !== 'boolean') throw new TypeError(`run: raw: true or false is wanted, not ${describe(raw)}`)
  if (!Array.isArray(hears)) throw new TypeError(`run: hears: an array such as ['message'] is wanted, not ${inspect(hears)}`)
  for (const kind of hears) {
    if (!KINDS.includes(kind)) throw new TypeError(`run: hears: one of ${KINDS.join(', ')} is wanted, not ${inspect(kind)}`)
  }
  if (dialogBy !== undefined && !DIALOGS.includes(dialogBy)) {
    throw new TypeError(`run: dialogBy: one of ${DIALOGS.join(', ')} is wanted, not ${inspect(dialogBy)}`)
  }
  const isByChannel = overlap !== null && typeof overlap === 'object' && !Array.isArray(overlap)
  for (const one of overlap === undefined ? [] : isByChannel ? Object.values(overlap) : [overlap]) {
    if (!isOverlap(one)) throw new TypeError(`run: overlap: ${OVERLAPS} is wanted, or an object of these by channel, not ${inspect(one)}`)
  }
  checkGivenUp(givenUp, 'run')
  if (name !== undefined && typeof name !== 'string') {
    throw new TypeError(`run: name: a text is wanted, not ${describe(name)}`)
  }
  const called = name || path.basename(process.argv[1] ?? '') || 'bot'
  return { protocol: PROTOCOL, name: cut(called, MAX_NAME), concurrency, raw, hears, dialog_by: dialogBy, overlap, every: readSchedules(every), given_up: givenUp && true }
}

/** The bot's own schedules, as the protocol has them. What is no schedule, Turnkey says. */
function readSchedules(every) {
  if (every === undefined) return undefined
  if (every === null || typeof every !== 'object') {
    throw new TypeError(`run: every: such as { digest: ['0 9 * * MON', 'Europe/Vienna'] } is wanted, not ${describe(every)}`)
  }
  return Object.entries(every).map(([name, when]) => {
    const isPair = Array.isArray(when) && when.length === 2 && when.every((word) => typeof word === 'string')
    if (!isPair) {
      throw new TypeError(`run: every: ${name}: a cron expression and a time zone are wanted, such as ['0 9 * * MON', 'Europe/Vienna'], not ${inspect(when)}`)
    }
    const [cron, zone] = when
    return { name, cron, zone }
  })
}

/** The number of the question that a line answers. */
function numberOf(message) {
  return message?.query ?? message?.ask ?? message?.download ?? message?.dead_replies ?? message?.step ?? message?.newer
}

/** Nobody is there any more: the answers of what still runs would reach nobody. */
function leave() {
  process.exit(0)
}

function send(message) {
  pipes.write(line(message), leave)
}

/** Turnkey's worker at the other end. */
class Connection {
  #handle
  #hello
  /** Where the addresses of callbacks begin. */
  #callbacks
  /** Turns that are not answered, by id. */
  #inHand = new Map()

  constructor(handle, hello) {
    this.#handle = handle
    this.#hello = hello
  }

  take(text) {
    let message
    try {
      message = JSON.parse(text)
    } catch {}
    if (message?.turn) this.#begin(message.id, message.turn)
    else if (numberOf(message) !== undefined) this.#inHand.get(message.id)?.answered(message)
    else if (message?.cancel !== undefined) this.#inHand.get(message.cancel)?.cancel(message.reason === 'newer')
    else if (message?.ping !== undefined) send({ pong: message.ping })
    else if (message?.hello) this.#greet(message.hello)
    else if (message?.drain === undefined) {
      console.error(`turnkey: this came from Turnkey, and is not of the protocol: ${cut(text, 200)}`)
      process.exit(1)
    }
  }

  #greet({ callbacks }) {
    this.#callbacks = callbacks
    send({ hello: this.#hello })
    greeted = true
  }

  #begin(id, message) {
    const running = new Running(id, message, this.#callbacks)
    this.#inHand.set(id, running)
    const handle = this.#handle
    let result
    try {
      result = handle(running.turn)
    } catch (error) {
      return this.#failed(running, error)
    }
    if (typeof result?.then !== 'function') return this.#ended(running)
    // `resolve`: what is only like a promise may call back twice.
    return Promise.resolve(result).then(() => this.#ended(running), (error) => this.#failed(running, error))
  }

  #ended(running) {
    let text
    try {
      text = line({ id: running.id, done: takeDone(running.turn, running.message) })
    } catch (error) {
      return this.#failed(running, error)
    }
    this.#inHand.delete(running.id)
    return pipes.write(text, leave)
  }

  #failed(running, error) {
    endTurn(running.turn)
    this.#inHand.delete(running.id)
    send({ id: running.id, fail: toFail(error) })
  }
}

/** A turn that is not answered, and its questions. */
class Running {
  #asked = 0
  #waiting

  constructor(id, message, callbacks) {
    this.id = id
    this.message = message
    this.turn = new Turn(message, (sort, fields) => this.#ask(sort, fields), (text) => send({ id, draft: text }), callbacks)
  }

  #ask(sort, fields) {
    return new Promise((resolve, reject) => {
      const number = (this.#asked += 1)
      send({ id: this.id, [sort]: number, ...fields })
      this.#waiting ??= new Map()
      this.#waiting.set(number, { resolve, reject })
    })
  }

  answered(message) {
    const number = numberOf(message)
    const waits = this.#waiting?.get(number)
    if (waits === undefined) return
    this.#waiting.delete(number)
    if (message.error !== undefined) waits.reject(new Error(message.error))
    else if (message.step !== undefined) waits.resolve(message)
    else waits.resolve(message.rows ?? message.size ?? message.replies ?? message.result)
  }

  cancel(isInterrupted) {
    const reason = cancelTurn(this.turn, isInterrupted)
    if (reason === undefined) return
    for (const { reject } of this.#waiting?.values() ?? []) reject(reason)
    this.#waiting?.clear()
  }
}

/** Lines for Turnkey's log, each with its level; `log.warn('%d left', n)` as in console. */
const log = {}
let greeted = false
for (const level of ['error', 'warn', 'info', 'debug']) {
  log[level] = (...words) => {
    const text = cut(format(...words), MAX_LOG)
    // Before Turnkey is there, and in tests.
    if (greeted) send({ log: { level, text } })
    else console.error(`${level}: ${text}`)
  }
}

module.exports = { GiveUp, Reply, Retry, escapeMarkup, log, run }
