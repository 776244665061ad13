// What may travel: checks of what an author hands in, and its form as JSON.
//
// Called by turn.js, fail.js and index.js. Invariants: what is refused is refused with a
// sentence that names where it stands and what to write instead; what passes comes back
// from the database as it was. `line` gives exactly one line of JSON in UTF-8. Bounds: a
// line has MAX_LINE bytes, a state MAX_DEPTH levels.
'use strict'

const MAX_LINE = 16 * 1024 * 1024
const MAX_DEPTH = 100

/** Words for a value in a sentence: "the number 7", "a Date", "undefined". */
function describe(value) {
  if (value === null || value === undefined) return String(value)
  switch (typeof value) {
    case 'number': return `the number ${value}`
    case 'bigint': return `the BigInt ${value}n`
    case 'boolean': return String(value)
    case 'string': return value === '' ? 'an empty text' : 'a text'
    case 'function': return 'a function'
    case 'symbol': return 'a symbol'
  }
  if (Array.isArray(value)) return 'an array'
  const name = value.constructor?.name
  if (typeof name !== 'string' || name === '' || name === 'Object') return 'an object'
  return /^[AEIOU]/.test(name) ? `an ${name}` : `a ${name}`
}

function wantText(value, where) {
  if (typeof value !== 'string') throw new TypeError(`${where}: a text is wanted, not ${describe(value)}`)
  return value
}

/** `{…}` or `new Object()`, of this realm or another (`vm`, jest); no instance of a class. */
function isPlain(value) {
  const prototype = Object.getPrototypeOf(value)
  return prototype === null || Object.getPrototypeOf(prototype) === null
}

const NAME = /^[\p{ID_Start}$_][\p{ID_Continue}$]*$/u

/** `keys` as an author would write it: `state.visits[2]["a b"]`. */
function path(keys) {
  return keys.reduce((text, key) => {
    if (typeof key === 'number') return `${text}[${key}]`
    return NAME.test(key) ? `${text}.${key}` : `${text}[${JSON.stringify(key)}]`
  }, 'state')
}

/** Throws a TypeError for what would not come back from the database as it is. */
function checkState(state) {
  if (state === null) return
  if (typeof state !== 'object' || Array.isArray(state)) {
    throw new TypeError(`state: an object is wanted, or null to forget the user, not ${describe(state)}`)
  }
  check(state, [], [])
}

function check(value, keys, above) {
  const refuse = (why) => { throw new TypeError(`${path(keys)} is ${describe(value)}: ${why}`) }
  switch (typeof value) {
    case 'string': case 'boolean': return
    case 'number':
      if (!Number.isFinite(value)) refuse('the state is JSON, which has no such number; say null')
      if (Number.isInteger(value) && !Number.isSafeInteger(value)) {
        refuse('beyond 2^53 JavaScript does not keep whole numbers exactly; keep it as a text')
      }
      return
    case 'bigint': refuse('the state is JSON; keep it as a text')
    case 'object': break
    case 'undefined': refuse('the state is JSON, which has null in its place')
    default: refuse('the state is JSON, and holds only data')
  }
  if (value === null) return
  if (above.includes(value)) refuse('it contains itself')
  if (above.length >= MAX_DEPTH) refuse(`the state has at most ${MAX_DEPTH} levels`)
  above.push(value)
  if (Array.isArray(value)) {
    for (let i = 0; i < value.length; i += 1) {
      keys.push(i)
      check(value[i], keys, above)
      keys.pop()
    }
  } else {
    if (value instanceof Date) refuse('keep .toISOString() of it, or .getTime()')
    if (value instanceof Map) refuse('keep Object.fromEntries(…) of it')
    if (value instanceof Set) refuse('keep an array, [...set]')
    if (!isPlain(value)) refuse('the state is JSON, from which it would come back as a plain object')
    for (const key of Object.keys(value)) {
      const child = value[key]
      if (child === undefined) continue // Left out, as JSON.stringify does.
      keys.push(key)
      check(child, keys, above)
      keys.pop()
    }
  }
  above.pop()
}

const MAX_INTEGER = 2n ** 63n - 1n

/** A list of SQL parameters in the form of the protocol. */
function toParams(params, where) {
  if (!Array.isArray(params)) {
    throw new TypeError(`${where}: the parameters are an array, such as [turn.userId], not ${describe(params)}`)
  }
  return Array.from(params, (value, i) => toParam(value, `${where}: parameter ?${i + 1}`))
}

function toParam(value, where) {
  switch (typeof value) {
    case 'string': return value
    case 'boolean': return value ? 1 : 0
    case 'number':
      if (!Number.isFinite(value)) throw new TypeError(`${where} is ${value}, which SQL does not have; say null`)
      if (!Number.isInteger(value) || Number.isSafeInteger(value)) return value
      // A whole number of 64 bits; what is larger is a floating point number in SQL.
      return Math.abs(value) < 2 ** 63 ? { integer: String(BigInt(value)) } : value
    case 'bigint':
      if (value > MAX_INTEGER || value < -MAX_INTEGER - 1n) throw new RangeError(`${where} is ${value}n: SQL's integers have 64 bits`)
      return Number.isSafeInteger(Number(value)) ? Number(value) : { integer: String(value) }
    case 'undefined': throw new TypeError(`${where} is undefined; say null`)
  }
  if (value === null) return null
  if (value instanceof Uint8Array) {
    return { base64: Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString('base64') }
  }
  if (value instanceof Date) throw new TypeError(`${where} is a Date; pass .toISOString() of it, or .getTime()`)
  throw new TypeError(`${where} is ${describe(value)}; pass null, a number, a BigInt, a text, true, false or a Buffer` +
    (typeof value === 'object' ? ', or JSON.stringify(…) of it' : ''))
}

/** A value of a row: BigInt for what is beyond 2^53, Buffer for bytes. */
function fromColumn(value) {
  if (value === null || typeof value !== 'object') return value
  if (typeof value.integer === 'string') return BigInt(value.integer)
  if (typeof value.base64 === 'string') return Buffer.from(value.base64, 'base64')
  return value
}

/** Changes `rows` from the form of the protocol to what an author reads. */
function fromRows(rows) {
  for (const row of rows) {
    for (const name of Object.keys(row)) {
      if (typeof row[name] === 'object') row[name] = fromColumn(row[name])
    }
  }
  return rows
}

// JSON.stringify writes a half of a surrogate pair as \udxxx, which other languages refuse.
const UNUSUAL = /[\u0085\u2028\u2029]|\\ud/
const UNUSUAL_EACH = /[\u0085\u2028\u2029]|\\(?:ud[89a-f][0-9a-f]{2}|[^])/g

function usual(text) {
  if (text.length === 1) return '\\u' + text.charCodeAt(0).toString(16).padStart(4, '0')
  return text.length === 6 ? '\\ufffd' : text
}

/** One line of JSON, with its end: nothing in it ends a line in any language. */
function line(message) {
  let json = JSON.stringify(message)
  if (UNUSUAL.test(json)) json = json.replace(UNUSUAL_EACH, usual)
  // No character has more than three bytes for each of its units.
  if (json.length * 3 >= MAX_LINE && Buffer.byteLength(json) >= MAX_LINE) {
    throw new RangeError(`${Buffer.byteLength(json)} bytes in one message to Turnkey; ${MAX_LINE} is the limit`)
  }
  return json + '\n'
}

/** What can be said of messages that come shortly after each other, for a sentence. */
const OVERLAPS = "each, albums, latest, interrupt or burst with a time such as 'burst 1500ms'"

function isOverlap(value) {
  return typeof value === 'string' && /^(each|albums|latest|interrupt|burst [0-9]+(ms|s|m))$/.test(value)
}

module.exports = { MAX_LINE, OVERLAPS, checkState, describe, fromColumn, fromRows, isOverlap, isPlain, line, toParam, toParams, wantText }
