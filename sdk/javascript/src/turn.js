// The turn that a handler is given, and what it may say: Reply, Retry, GiveUp.
//
// Made by index.js for each `turn` line and by testing.js for each message of a test.
// Invariants: nothing here takes effect before the answer is written; what an author hands
// in is checked, and copied, at once. Bounds: MAX_REPLIES replies a turn.
'use strict'

const { describe, checkState, fromRows, isPlain, toParams, wantText } = require('./values.js')

const MAX_REPLIES = 1000
const MAX_RETRY = 86400

/** A text, a picture with or without one, and buttons under it. It never changes. */
class Reply {
  constructor(text) {
    this.text = text === undefined ? '' : wantText(text, 'new Reply')
  }

  /** A picture, by its address or by the platform's id of it. */
  static picture(picture) {
    return new Reply().#with({ picture: wantText(picture, 'Reply.picture') })
  }

  /** The same with this text under the picture. */
  caption(text) {
    return this.#with({ text: wantText(text, 'caption') })
  }

  /** The same with one more button. `data` is what `turn.button` is when it is pressed. */
  button(label, data) {
    const button = { label: wantText(label, 'button: label'), data: wantText(data, 'button: data') }
    return this.#with({ buttons: [...(this.buttons ?? []), button] })
  }

  #with(changed) {
    return Object.assign(new Reply(), this, changed)
  }
}

/** What `turn.reply` was given, in the form of the protocol. */
function toReply(reply) {
  if (typeof reply === 'string') {
    if (reply === '') throw new TypeError('turn.reply: the text is empty')
    return { text: reply }
  }
  if (reply === null || typeof reply !== 'object' || !(reply instanceof Reply || isPlain(reply))) {
    throw new TypeError(`turn.reply: a text, a Reply or { text, picture, buttons } is wanted, not ${describe(reply)}`)
  }
  const { text, picture, buttons, ...others } = reply
  for (const name of Object.keys(others)) {
    throw new TypeError(`turn.reply: a reply has text, picture and buttons, but no ${name}`)
  }
  if (text !== undefined) wantText(text, 'turn.reply: text')
  if (picture !== undefined) wantText(picture, 'turn.reply: picture')
  if (!text && !picture) throw new TypeError('turn.reply: a reply has a text or a picture, or both')
  if (buttons !== undefined && !Array.isArray(buttons)) {
    throw new TypeError(`turn.reply: buttons: an array of { label, data } is wanted, not ${describe(buttons)}`)
  }
  return { text: text ?? '', picture: picture || undefined, buttons: buttons?.map(toButton) }
}

function toButton(button, i) {
  const where = `turn.reply: buttons[${i}]`
  if (button === null || typeof button !== 'object') {
    throw new TypeError(`${where}: { label, data } is wanted, not ${describe(button)}`)
  }
  return { label: wantText(button.label, `${where}.label`), data: wantText(button.data, `${where}.data`) }
}

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

/** The platform's own JSON; a Buffer where it sent something else. */
function readRaw(raw) {
  if (typeof raw?.base64 !== 'string' || Object.keys(raw).length !== 1) return raw
  return Buffer.from(raw.base64, 'base64')
}

let takeOf, cancelOf

class Turn {
  #ask
  #replies
  #statements
  #ended = false
  #cancelled
  #controller

  /**
   * `message` is the protocol's `turn`. `ask(sql, params)` asks the database: a promise
   * of rows in the form of the protocol.
   */
  constructor(message, ask) {
    this.#ask = ask
    const { kind, text } = message
    this.state = message.state ?? {}
    this.text = text
    this.command = message.command
    this.argument = message.argument ?? ''
    this.button = kind === 'button' ? text : undefined
    this.pictures = message.pictures ?? []
    this.rpc = message.rpc
    this.userId = message.user
    this.channel = message.channel
    this.update = { id: message.update, kind, raw: readRaw(message.raw) }
    this.attempt = message.attempt
  }

  /** Aborted when the turn takes longer than --turn-timeout: pass it to what waits. */
  get signal() {
    // Made when it is asked for: most turns never do.
    if (this.#controller === undefined) {
      this.#controller = new AbortController()
      if (this.#cancelled) this.#controller.abort(this.#cancelled)
    }
    return this.#controller.signal
  }

  /** Queues a reply: it is sent, in order, after the turn has ended well. */
  reply(reply) {
    this.#mustRun('turn.reply')
    const replies = (this.#replies ??= [])
    if (replies.length === MAX_REPLIES) {
      throw new RangeError(`turn.reply: ${MAX_REPLIES} replies in one turn are the limit`)
    }
    replies.push(toReply(reply))
  }

  /** Queues a statement of your own SQL: it runs in the turn's transaction. */
  execute(sql, params = []) {
    this.#mustRun('turn.execute')
    const statement = [wantText(sql, 'turn.execute'), toParams(params, 'turn.execute')]
    ;(this.#statements ??= []).push(statement)
  }

  /** Asks your own tables. Statements that this turn has queued are not yet seen. */
  async query(sql, params = []) {
    this.#mustRun('turn.query')
    if (this.#cancelled) throw this.#cancelled
    wantText(sql, 'turn.query')
    const values = toParams(params, 'turn.query')
    // Made here: where the answer comes in, the author's call is no longer on the stack.
    const asked = new Error()
    try {
      return fromRows(await this.#ask(sql, values))
    } catch (error) {
      if (error === this.#cancelled) throw error
      const failed = new Error(error.message)
      failed.name = 'QueryError'
      failed.stack = `QueryError: ${error.message}\n${asked.stack.slice(asked.stack.indexOf('\n') + 1)}`
      throw failed
    }
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
      return { replies: turn.#replies, sql: turn.#statements }
    }
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
  const { replies, sql } = takeOf(turn)
  const { state } = turn
  // A handler in another language may have left a state that is no object.
  if (state === message.state && (state === null || typeof state !== 'object')) return { replies, sql }
  checkState(state)
  return { state, replies, sql }
}

/** Tells a turn that it took too long. */
function cancelTurn(turn) {
  const reason = new Error('the turn took longer than --turn-timeout')
  reason.name = 'TimeoutError'
  cancelOf(turn, reason)
  return reason
}

module.exports = { GiveUp, Reply, Retry, Turn, cancelTurn, endTurn, takeDone }
