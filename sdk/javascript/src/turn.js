// The turn that a handler is given, and what it may throw: Retry, GiveUp.
//
// Made by index.js for each `turn` line and by testing.js for each message of a test.
// Invariants: nothing here takes effect before the answer is written, but for `ask`,
// `download` and `step`; what an author hands in is checked, and copied, at once; what came in is looked
// at when the author does. Bounds: MAX_REPLIES replies and other actions a turn.
'use strict'

const fs = require('node:fs')
const os = require('node:os')
const path = require('node:path')
const { inspect } = require('node:util')
const { toAsked, toCallback } = require('./callbacks.js')
const { writePart } = require('./content.js')
const { Heard } = require('./heard.js')
const { toName, toReply, toTarget } = require('./reply.js')
const { readSaid } = require('./said.js')
const { Steps, copyResult } = require('./steps.js')
const { OVERLAPS, describe, checkState, fromRows, isOverlap, line, toParams, wantText } = require('./values.js')

const MAX_REPLIES = 1000
const MAX_RETRY = 86400

/** Bytes. */
const MAX_TIMER_NAME = 64

/** Milliseconds: ten years, and the days of the leap years. */
const LONGEST_TIMER = 3653 * 24 * 3600 * 1000

const UNITS = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 24 * 3_600_000 }

/** Bytes of a file that is fetched, if the author says nothing: what Telegram lets bots have. */
const MAX_DOWNLOAD = 20 * 1024 * 1024

/** Thrown by a handler: the turn changes nothing, and is tried again after `seconds`. */
class Retry extends Error {
  constructor(seconds, message, options) {
    super(message ?? `try again in ${seconds} s`, options)
    this.name = 'Retry'
    if (typeof seconds !== 'number' || !(seconds >= 0 && seconds <= MAX_RETRY)) {
      throw new RangeError(`new Retry: 0 to ${MAX_RETRY} seconds are wanted, not ${describe(seconds)}`)
    }
    this.seconds = seconds
  }
}

/** Thrown by a handler: the turn changes nothing, and is never tried again. */
class GiveUp extends Error {
  constructor(message, options) {
    super(message ?? 'given up', options)
    this.name = 'GiveUp'
  }
}

/** Parameters of a method as they are now: JSON. */
function copyParams(params, where) {
  if (params === undefined) return {}
  if (params === null || typeof params !== 'object' || Array.isArray(params)) {
    throw new TypeError(`${where}: the parameters are an object, such as { user_id: 7 }, not ${describe(params)}`)
  }
  try {
    return JSON.parse(line(params))
  } catch (error) {
    throw new TypeError(`${where}: the parameters are JSON: ${error.message}`)
  }
}

/** How long a timer's delay is. */
function toMilliseconds(delay, where) {
  if (typeof delay === 'number') return delay
  const read = /^([0-9]+)(ms|s|m|h|d)$/.exec(delay)
  if (!read) throw new RangeError(`${where}: ${inspect(delay.slice(0, 40))} is no time such as 500ms, 10s, 10m, 2h or 3d`)
  return Number(read[1]) * UNITS[read[2]]
}

let takeOf, cancelOf, hasSteps

class Turn extends Heard {
  #message
  #ask
  #tell
  #replies
  #statements
  #timers
  #steps
  #overlap
  #callbacks
  #base
  #ended = false
  #cancelled
  #controller
  #newer

  /**
   * `message` is the protocol's `turn`. `ask(sort, fields)` asks a question of the protocol,
   * a `query`, an `ask` …: a promise of what is answered. `tell(text)` shows a draft. `base` is
   * where the addresses of callbacks begin.
   */
  constructor(message, ask, tell, base) {
    super(message)
    this.#message = message
    this.#ask = ask
    this.#tell = tell
    this.#base = base
    this.state = message.state ?? {}
  }

  get updates() { return (this.#message.updates ?? [this.#message]).map((update) => new Heard(update)) }
  get userId() { return this.#message.user }
  get dialogId() { return this.#message.dialog ?? this.#message.user }
  get channel() { return this.#message.channel }
  get attempt() { return this.#message.attempt }
  get isLastAttempt() { return this.#message.last_attempt ?? false }
  get givenUp() { return this.#message.given_up?.error }

  get unreachable() { return this.kind === 'left' && this.event === 'unreachable' ? this.text : undefined }

  /** Aborted when the turn takes longer than --turn-timeout, or is interrupted: pass it to what waits. */
  get signal() {
    // Made when it is asked for: most turns never do.
    if (this.#controller === undefined) {
      this.#controller = new AbortController()
      if (this.#cancelled) this.#controller.abort(this.#cancelled)
    }
    return this.#controller.signal
  }

  /** Queues a reply: it is sent, in order, after the turn has ended well. */
  reply(reply, options) {
    this.#mustRun('turn.reply')
    this.#say('turn.reply', toReply(reply, options, 'turn.reply'))
  }

  /** Puts this in the place of a message that had a name. */
  edit(message, reply, options) {
    this.#mustRun('turn.edit')
    const edit = toTarget(message, 'turn.edit')
    this.#say('turn.edit', { ...toReply(reply, options, 'turn.edit'), edit })
  }

  /** As `edit`, the message whose button was pressed. */
  editPressed(reply, options) {
    this.#mustRun('turn.editPressed')
    this.#say('turn.editPressed', { ...toReply(reply, options, 'turn.editPressed'), edit: true })
  }

  /** Takes a message away. */
  delete(message) {
    this.#mustRun('turn.delete')
    this.#say('turn.delete', { delete: toTarget(message, 'turn.delete') })
  }

  /** Shows a few words over the chat to whoever pressed a button. */
  toast(text, { alert = false } = {}) {
    this.#mustRun('turn.toast')
    const toast = wantText(text, 'turn.toast')
    this.#say('turn.toast', alert ? { toast, alert: true } : { toast })
  }

  /** Calls any method of the platform, in order with the replies. */
  call(method, params, { name } = {}) {
    this.#mustRun('turn.call')
    const call = { call: wantText(method, 'turn.call'), params: copyParams(params, 'turn.call') }
    if (name !== undefined) call.name = toName(name, 'turn.call: name')
    this.#say('turn.call', call)
  }

  /** Says something to another dialog. */
  sendTo(channel, user, reply, options) {
    this.#mustRun('turn.sendTo')
    const to = { channel: wantText(channel, 'turn.sendTo: channel'), user: wantText(user, 'turn.sendTo: user') }
    this.#say('turn.sendTo', { ...toReply(reply, options, 'turn.sendTo'), send_to: to })
  }

  /** A one-time address: who posts to it starts a turn of this dialog. */
  callback(name, { valid } = {}) {
    this.#mustRun('turn.callback')
    const opened = toCallback(this.#base, name, valid)
    ;(this.#callbacks ??= []).push(opened)
    return this.#base + opened.token
  }

  /** Asks something of another dialog: the button that is pressed there comes back as a turn of this one. */
  askIn(channel, user, question, name, { valid, ...options } = {}) {
    this.#mustRun('turn.askIn')
    const said = toReply(question, Object.keys(options).length === 0 ? undefined : options, 'turn.askIn')
    this.#say('turn.askIn', { ...said, ask_in: toAsked(said, channel, user, name, valid) })
  }

  /** Queues a statement of your own SQL: it runs in the turn's transaction. */
  execute(sql, params = []) {
    this.#mustRun('turn.execute')
    const statement = [wantText(sql, 'turn.execute'), toParams(params, 'turn.execute')]
    ;(this.#statements ??= []).push(statement)
  }

  /** Sets a timer of this dialog: `'10m'`, or milliseconds, after this turn's end. */
  after(delay, name, data) {
    const isDelay = typeof delay === 'string' || (Number.isFinite(delay) && delay >= 0)
    if (!isDelay) throw new TypeError(`turn.after: a text such as '10m', or milliseconds, are wanted, not ${describe(delay)}`)
    if (toMilliseconds(delay, 'turn.after') > LONGEST_TIMER) throw new RangeError(`turn.after: ${inspect(delay)} is more than ten years`)
    this.#time('turn.after', name, { after: typeof delay === 'string' ? delay : Math.round(delay) }, data)
  }

  /** As `after`, at a moment: a Date, or milliseconds since 1970. */
  at(moment, name, data) {
    const at = moment instanceof Date ? moment.getTime() : moment
    if (!Number.isFinite(at)) throw new TypeError(`turn.at: a Date, or milliseconds since 1970, are wanted, not ${describe(moment)}`)
    this.#time('turn.at', name, { at: Math.round(at) }, data)
  }

  /** Sets a timer that comes at the moments of a cron expression in a time zone, until it is cancelled. */
  every(cron, zone, name, data) {
    const fields = wantText(cron, 'turn.every: cron').trim().split(/\s+/)
    if (fields.length !== 5) throw new RangeError(`turn.every: five fields such as '0 9 * * MON' are wanted, not ${describe(cron)}`)
    this.#time('turn.every', name, { cron, zone: wantText(zone, 'turn.every: zone') }, data)
  }

  /** Takes a timer or schedule of this dialog away, if there is one of this name. */
  cancel(name) {
    this.#time('turn.cancel', name, { cancel: true })
  }

  #time(verb, name, wish, data) {
    this.#mustRun(verb)
    const bytes = Buffer.byteLength(wantText(name, `${verb}: name`))
    if (bytes < 1 || bytes > MAX_TIMER_NAME) throw new RangeError(`${verb}: a timer's name has 1 to ${MAX_TIMER_NAME} bytes`)
    let copy
    try {
      copy = data === undefined ? undefined : JSON.parse(line({ data })).data
    } catch (error) {
      throw new TypeError(`${verb}: the data is JSON: ${error.message}`)
    }
    ;(this.#timers ??= []).push({ name, ...wish, data: copy })
  }

  /** What becomes of quick messages of this dialog from now on; null is what `run` was given. */
  overlap(overlap) {
    this.#mustRun('turn.overlap')
    if (overlap !== null && !isOverlap(overlap)) throw new TypeError(`turn.overlap: ${OVERLAPS} is wanted, or null, not ${inspect(overlap)}`)
    this.#overlap = overlap
  }

  /** Shows a text that still grows, until the turn's reply takes its place. */
  draft(text) {
    this.#mustRun('turn.draft')
    wantText(text, 'turn.draft')
    if (!this.#cancelled) this.#tell(text)
  }

  /** The replies of this dialog that were given up. */
  async deadReplies() {
    this.#mustRun('turn.deadReplies')
    const replies = await this.#answer('dead_replies', {}, 'PlatformError', new Error())
    return replies.map(({ action, error, died }) => ({ action: typeof action === 'string' ? action : readSaid(action), error, died: new Date(died) }))
  }

  /** Resolves once the user has sent something newer in this dialog. */
  newer() {
    this.#mustRun('turn.newer')
    if (this.#newer === undefined) {
      // One question, however often it is waited for.
      this.#newer = this.#answer('newer', {}, 'PlatformError', new Error()).then(() => {})
      // Perhaps nobody waits any more when the turn is cancelled.
      this.#newer.catch(() => {})
    }
    return this.#newer
  }

  /** Whether `newer` would resolve at once. */
  async hasNewer() {
    this.#mustRun('turn.hasNewer')
    return this.#answer('newer', { wait: false }, 'PlatformError', new Error())
  }

  /** Asks your own tables. Statements that this turn has queued are not yet seen. */
  async query(sql, params = []) {
    this.#mustRun('turn.query')
    wantText(sql, 'turn.query')
    const values = toParams(params, 'turn.query')
    return fromRows(await this.#answer('query', { sql, params: values }, 'QueryError', new Error()))
  }

  /** Calls a method of the platform now: its result. */
  async ask(method, params) {
    this.#mustRun('turn.ask')
    const fields = { method: wantText(method, 'turn.ask'), params: copyParams(params, 'turn.ask') }
    return this.#answer('ask', fields, 'PlatformError', new Error())
  }

  /** Fetches a file that the user sent: its bytes, or, written to `path`, their number. */
  async download(file, { path: to, limit = MAX_DOWNLOAD } = {}) {
    this.#mustRun('turn.download')
    const asked = new Error()
    if (file === null || typeof file !== 'object' || typeof file.type !== 'string') {
      throw new TypeError(`turn.download: a file of turn.files is wanted, not ${describe(file)}`)
    }
    if (!Number.isSafeInteger(limit) || limit < 0) {
      throw new TypeError(`turn.download: limit: a number of bytes is wanted, not ${describe(limit)}`)
    }
    const fetch = (place) => this.#answer('download', { file: writePart(file), limit, path: place }, 'PlatformError', asked)
    if (to !== undefined) return fetch(path.resolve(wantText(to, 'turn.download: path')))
    // On its way through a directory of its own.
    const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'turnkey-'))
    try {
      const place = path.join(directory, 'file')
      await fetch(place)
      return await fs.promises.readFile(place)
    } finally {
      fs.rmSync(directory, { recursive: true, force: true })
    }
  }

  /** Does something that costs, and keeps its result at once: a later attempt is given it. */
  async step(name, body) {
    this.#mustRun('turn.step')
    const asked = new Error()
    const steps = (this.#steps ??= new Steps(this.#message.steps))
    steps.begin(name, body, asked)
    if (steps.has(name)) return steps.get(name)
    let result
    try {
      result = copyResult(name, await body())
    } catch (error) {
      steps.free(name)
      throw error
    }
    this.#mustRun('turn.step')
    const answer = await this.#answer('step', { name, value: result }, 'StepError', asked)
    return steps.keep(name, answer?.value !== undefined ? answer.value : result)
  }

  /** `asked` was made where the author's call is on the stack: where the answer comes in, it is not. */
  async #answer(sort, fields, name, asked) {
    if (this.#cancelled) throw this.#cancelled
    try {
      return await this.#ask(sort, fields)
    } catch (error) {
      if (error === this.#cancelled) throw error
      const failed = new Error(error.message)
      failed.name = name
      failed.stack = `${name}: ${error.message}\n${asked.stack.slice(asked.stack.indexOf('\n') + 1)}`
      throw failed
    }
  }

  #say(verb, action) {
    const replies = (this.#replies ??= [])
    if (replies.length === MAX_REPLIES) {
      throw new RangeError(`${verb}: ${MAX_REPLIES} replies in one turn are the limit`)
    }
    replies.push(action)
  }

  [inspect.custom]() {
    const { channel, user, kind, text } = this.#message
    return { turn: `${channel}:${user}`, kind, text, state: this.state }
  }

  #mustRun(verb) {
    if (this.#ended) {
      throw new Error(`${verb}: this turn has ended; is there an await missing in the handler?`)
    }
  }

  // For the files of the SDK alone: no author sees these.
  static {
    takeOf = (turn) => {
      turn.#ended = true
      return { replies: turn.#replies, sql: turn.#statements, timers: turn.#timers, overlap: turn.#overlap, callbacks: turn.#callbacks }
    }
    hasSteps = (turn) => turn.#steps !== undefined
    cancelOf = (turn, reason) => {
      turn.#cancelled = reason
      turn.#controller?.abort(reason)
    }
  }
}

/** Ends a turn whose handler failed: its verbs do nothing any more. */
function endTurn(turn) {
  takeOf(turn)
}

/** Ends a turn whose handler ended well: the protocol's `done`, or a TypeError. */
function takeDone(turn, message) {
  const left = takeOf(turn)
  const { state } = turn
  // A handler in another language may have left a state that is no object.
  if (state === message.state && (state === null || typeof state !== 'object')) return left
  checkState(state)
  return { state, ...left }
}

/**
 * Tells a turn that it took too long, or that something newer came; the latter not once it has begun a step, since what
 * was paid stays what it was paid for. The reason, if it is cancelled.
 */
function cancelTurn(turn, isInterrupted) {
  if (isInterrupted && hasSteps(turn)) return undefined
  const reason = new Error(isInterrupted ? 'a newer message has come' : 'the turn took longer than --turn-timeout')
  reason.name = isInterrupted ? 'AbortError' : 'TimeoutError'
  cancelOf(turn, reason)
  return reason
}

module.exports = { GiveUp, Retry, Turn, cancelTurn, endTurn, takeDone }
