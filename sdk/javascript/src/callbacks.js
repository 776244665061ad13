// What others come back with: the addresses of callbacks, and questions in other dialogs.
//
// Called by turn.js. Invariants: a token has 192 bits of the system's randomness, and is told to
// the worker with the turn's answer alone; whatever the worker would refuse is refused here.
'use strict'

const { randomBytes } = require('node:crypto')
const { readPart } = require('./content.js')
const { describe, wantText } = require('./values.js')

/** Bytes of a callback's name, and of its token. */
const MAX_NAME = 64
const TOKEN = 24

/** A callback's name, and for how long it is open: a text such as '2d', or milliseconds. */
function toNamed(name, valid, verb) {
  const bytes = Buffer.byteLength(wantText(name, `${verb}: name`))
  if (bytes < 1 || bytes > MAX_NAME) throw new RangeError(`${verb}: a callback's name has 1 to ${MAX_NAME} bytes`)
  if (valid === undefined || typeof valid === 'string') return { name, valid }
  if (!Number.isFinite(valid) || valid < 0) {
    throw new TypeError(`${verb}: valid: a text such as '2d', or milliseconds, are wanted, not ${describe(valid)}`)
  }
  return { name, valid: Math.round(valid) }
}

/** A callback's token, and what else the worker is told of it. `base` is where addresses begin. */
function toCallback(base, name, valid) {
  const opened = toNamed(name, valid, 'turn.callback')
  if (base === undefined) {
    throw new Error('turn.callback needs the address under which this bot is reached: set --public-url')
  }
  return { ...opened, token: randomBytes(TOKEN).toString('base64url') }
}

/** The data of a question's buttons. */
function dataOf(question) {
  return (question.buttons ?? []).flat().map((button) => button.data).filter((data) => data !== undefined)
}

/** Where a question goes, and under which name its answer comes back. */
function toAsked(question, channel, user, name, valid) {
  if (dataOf(question).length === 0) throw new TypeError('turn.askIn: a question needs a button that has data')
  const to = { channel: wantText(channel, 'turn.askIn: channel'), user: wantText(user, 'turn.askIn: user') }
  return { ...to, ...toNamed(name, valid, 'turn.askIn') }
}

/** Who came, and with what. */
function readCalled(called) {
  if (called === undefined) return undefined
  const { at, body = null, by, ...others } = readPart(called, { mediaType: '' })
  const read = { ...others, at: new Date(at), body }
  if (typeof body?.base64 === 'string' && Object.keys(body).length === 1) read.body = Buffer.from(body.base64, 'base64')
  if (by !== undefined) read.by = { ...by, sender: readPart(by.sender, { name: '' }) }
  return read
}

module.exports = { dataOf, readCalled, toAsked, toCallback }
