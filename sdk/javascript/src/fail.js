// Why a turn failed, in the form of the protocol.
//
// Called by index.js with whatever a handler threw. Invariants: it never throws; the error
// is one line; a trace begins in the author's file. Bounds: MAX_ERROR and MAX_TRACE bytes,
// MAX_CAUSES causes.
'use strict'

const { inspect } = require('node:util')
const { GiveUp, Retry } = require('./turn.js')

const MAX_ERROR = 8 * 1024
const MAX_TRACE = 64 * 1024
const MAX_CAUSES = 16

/** The protocol's `fail` for what was thrown. */
function toFail(thrown) {
  try {
    const errors = [...causes(thrown)]
    const fail = { error: cut(errors.map(words).join(': ').replace(/\s*[\r\n]+\s*/g, ' '), MAX_ERROR) }
    const trace = errors.map(framesWithHead).filter(Boolean).join('\n')
    if (trace) fail.trace = cut(trace, MAX_TRACE)
    if (thrown instanceof Retry) fail.retry_in = thrown.seconds
    if (thrown instanceof GiveUp) fail.give_up = true
    return fail
  } catch {
    // A getter or a toString of the author's threw in its turn.
    return { error: 'the handler threw something that cannot be shown' }
  }
}

/** What was thrown, its cause, the cause's cause … */
function* causes(thrown) {
  yield thrown
  const seen = [thrown]
  let cause = thrown?.cause
  while (cause instanceof Error && !seen.includes(cause) && seen.length <= MAX_CAUSES) {
    yield cause
    seen.push(cause)
    cause = cause.cause
  }
}

function words(thrown) {
  if (!isError(thrown)) return `the handler threw ${inspect(thrown, { breakLength: Infinity })}, which is no Error`
  // What these two say is said on purpose: as it stands.
  if (thrown instanceof Retry || thrown instanceof GiveUp) return thrown.message
  const message = String(thrown.message || thrown.code || '')
  return message ? `${thrown.name}: ${message}` : String(thrown.name)
}

function isError(thrown) {
  return thrown instanceof Error || Object.prototype.toString.call(thrown) === '[object Error]'
}

/** The author's frames, below a line that says whose they are if it is a cause. */
function framesWithHead(error, i) {
  if (!isError(error) || error instanceof Retry || error instanceof GiveUp) return ''
  const frames = authorsFrames(error)
  return frames && i > 0 ? `caused by ${words(error)}\n${frames}` : frames
}

// `node:internal/…`, Deno's `ext:…`, Bun's `internal:…` and `native:…`, `Array.map (<anonymous>)`.
const INTERPRETERS = /[( ](?:node|ext|internal|native):|\(<anonymous>\)$/

/** The frames of its stack without the SDK's and the interpreter's own. */
function authorsFrames(error) {
  const lines = String(error.stack ?? '').split('\n')
  // Lines before the first frame repeat the message.
  const frames = lines.filter((line) => /^\s+at /.test(line))
  return frames.filter((frame) => !frame.includes(__dirname) && !INTERPRETERS.test(frame)).join('\n')
}

/** At most `limit` bytes of a text, whole characters. */
function cut(text, limit) {
  if (text.length * 3 <= limit) return text
  const bytes = Buffer.from(text)
  if (bytes.length <= limit) return text
  let end = limit
  while ((bytes[end] & 0xc0) === 0x80) end -= 1
  return bytes.toString('utf8', 0, end)
}

module.exports = { cut, toFail }
