// The steps of a turn: what is kept, and where each name was used.
//
// Made by turn.js for a turn that has steps. Invariants: a name is used once in a turn, unless
// its function failed; what a handler is given is what a later attempt would be given, as JSON
// has it. Bounds: MAX_STEPS, MAX_NAME; those of the results are the worker's.
'use strict'

const { describe, line, wantText } = require('./values.js')

const MAX_STEPS = 100

/** Bytes. */
const MAX_NAME = 64

class Steps {
  #kept
  /** The places, by name. */
  #used = new Map()

  /** `kept` has the results of earlier attempts, by name. */
  constructor(kept = {}) {
    this.#kept = new Map(Object.entries(kept))
  }

  /** Uses a name; `asked` is an Error that was made where the author's call is on the stack. */
  begin(name, body, asked) {
    const bytes = Buffer.byteLength(wantText(name, 'turn.step: name'))
    if (bytes < 1 || bytes > MAX_NAME) throw new RangeError(`turn.step: a step's name has 1 to ${MAX_NAME} bytes`)
    if (typeof body !== 'function') {
      throw new TypeError(`turn.step: a function is wanted, such as async () => { … }, not ${describe(body)}`)
    }
    const place = placeOf(asked)
    const before = this.#used.get(name)
    if (before !== undefined) {
      throw new Error(`turn.step: '${name}' is used twice in this turn, at ${before} and at ${place}: each has a name of its own`)
    }
    const names = new Set([...this.#kept.keys(), ...this.#used.keys()])
    if (!names.has(name) && names.size >= MAX_STEPS) {
      throw new RangeError(`turn.step: '${name}' is one more than ${MAX_STEPS} steps in a turn`)
    }
    this.#used.set(name, place)
  }

  has(name) {
    return this.#kept.has(name)
  }

  get(name) {
    return this.#kept.get(name)
  }

  /** The body failed: its name is free again. */
  free(name) {
    this.#used.delete(name)
  }

  /** This stands from now on. */
  keep(name, value) {
    this.#kept.set(name, value)
    return value
  }
}

/** A result as it comes back from JSON; nothing is null. */
function copyResult(name, value) {
  try {
    return JSON.parse(line({ value: value ?? null })).value ?? null
  } catch (error) {
    throw new TypeError(`turn.step: the result of '${name}' is JSON: ${error.message}`)
  }
}

/** The author's place: `bot.mjs:12`. */
function placeOf(asked) {
  const frames = String(asked.stack).split('\n').filter((frame) => /^\s+at /.test(frame) && !frame.includes(__dirname))
  return /\(?([^\s(]+:\d+):\d+\)?$/.exec(frames[0] ?? '')?.[1] ?? 'an unknown place'
}

module.exports = { Steps, copyResult }
