// What a handler says: Reply, and everything that can be in one.
//
// Called by turn.js with what an author hands in. Invariants: what it gives is new and in the
// form of the protocol; what the worker would refuse whatever the platform is refused here,
// with a sentence. Bound: MAX_BYTES of a file that travels within a reply.
'use strict'

const path = require('node:path')
const { fileURLToPath } = require('node:url')
const { FILE_TYPES, camel } = require('./content.js')
const { describe, isPlain, wantText } = require('./values.js')

const MAX_BYTES = 1 << 20

/** `photo`, `videoNote` …: an option for each sort of file. */
const BY_TYPE = Object.fromEntries(FILE_TYPES.map((type) => [camel(type), type]))

const FIELDS = ['text', 'format', ...Object.keys(BY_TYPE), 'files', 'location', 'contact', 'buttons', 'keyboard', 'once',
  'removeKeyboard', 'quote', 'silent', 'noPreview', 'protected', 'name']

/** A text, files with or without one, a place, a contact; and buttons under it. It never changes. */
class Reply {
  constructor(text = '', options = {}) {
    this.text = wantText(text, 'new Reply')
    if (options === null || typeof options !== 'object' || !(options instanceof Reply || isPlain(options))) {
      throw new TypeError(`new Reply: options such as { photo, buttons } are wanted, not ${describe(options)}`)
    }
    Object.assign(this, options, { text })
    checkNames(this, 'new Reply')
  }

  /** The same with one more button, in a row of its own. `data` is what `turn.button` is when it is pressed. */
  button(label, data) {
    return this.row({ label: wantText(label, 'button: label'), data: wantText(data, 'button: data') })
  }

  /** The same with one more row of buttons. */
  row(...buttons) {
    return new Reply(this.text, { ...this, buttons: [...(this.buttons ?? []), buttons.length === 1 ? buttons[0] : buttons] })
  }
}

function checkNames(reply, where) {
  for (const name of Object.keys(reply)) {
    if (!FIELDS.includes(name)) throw new TypeError(`${where}: a reply has no ${name}; it has ${FIELDS.join(', ')}`)
  }
}

/** What a verb was given, in the form of the protocol. */
function toReply(reply, options, where) {
  if (typeof reply === 'string') {
    if (options === undefined) {
      if (reply === '') throw new TypeError(`${where}: the text is empty`)
      return { text: reply }
    }
    reply = new Reply(reply, options)
  } else if (reply === null || typeof reply !== 'object' || !(reply instanceof Reply || isPlain(reply))) {
    throw new TypeError(`${where}: a text, a Reply or { text, photo, buttons, … } is wanted, not ${describe(reply)}`)
  } else if (options !== undefined) {
    throw new TypeError(`${where}: options go with a text; a Reply has its own`)
  }
  checkNames(reply, where)
  const { text, format, location, contact, buttons, keyboard, quote, name } = reply
  const json = {}
  if (text !== undefined && wantText(text, `${where}: text`) !== '') json.text = text
  if (format !== undefined && format !== 'plain') {
    if (format !== 'markup' && format !== 'html') {
      throw new TypeError(`${where}: format: 'plain', 'markup' or 'html' is wanted, not ${describe(format)}`)
    }
    json.format = format
  }
  const files = toFiles(reply, where)
  if (files.length > 0) json.files = files
  if (location !== undefined) json.location = toLocation(location, `${where}: location`)
  if (contact !== undefined) json.contact = toContact(contact, `${where}: contact`)
  if (!json.text && !json.files && !json.location && !json.contact) {
    throw new TypeError(`${where}: a reply has a text, a file, a location or a contact`)
  }
  if (buttons !== undefined) {
    const rows = toRows(buttons, `${where}: buttons`, toButton)
    if (rows.length > 0) json.buttons = rows.map((row) => (row.length === 1 ? row[0] : row))
  }
  if (reply.removeKeyboard) {
    if (keyboard !== undefined) throw new TypeError(`${where}: a reply has a keyboard or removes it, not both`)
    json.keyboard = 'remove'
  } else if (keyboard !== undefined) {
    const rows = toRows(keyboard, `${where}: keyboard`, toKey)
    if (rows.length === 0) throw new TypeError(`${where}: keyboard: it has no button; removeKeyboard: true takes it away`)
    json.keyboard = { [reply.once ? 'once' : 'rows']: rows }
  } else if (reply.once) {
    throw new TypeError(`${where}: once is for a keyboard, and there is none`)
  }
  if (quote !== undefined && quote !== false) json.quote = toTarget(quote, `${where}: quote`)
  if (reply.silent) json.silent = true
  if (reply.noPreview) json.no_preview = true
  if (reply.protected) json.protected = true
  if (name !== undefined) json.name = toName(name, `${where}: name`)
  return json
}

function toFiles(reply, where) {
  const files = []
  for (const [option, type] of Object.entries(BY_TYPE)) {
    const sources = reply[option]
    if (sources === undefined) continue
    for (const source of Array.isArray(sources) ? sources : [sources]) files.push(toFile(source, type, `${where}: ${option}`))
  }
  if (reply.files !== undefined) {
    if (!Array.isArray(reply.files)) throw new TypeError(`${where}: files: an array is wanted, not ${describe(reply.files)}`)
    reply.files.forEach((source, i) => files.push(toFile(source, undefined, `${where}: files[${i}]`)))
  }
  return files
}

/** A file that is sent; `type` is how it is shown, unless the source says so. */
function toFile(source, type, where) {
  if (typeof source === 'string') return { type: type ?? 'document', ...toSource(source, where) }
  if (source instanceof URL) {
    const from = source.protocol === 'file:' ? { path: fileURLToPath(source) } : { url: source.href }
    return { type: type ?? 'document', ...from }
  }
  if (source === null || typeof source !== 'object' || !isPlain(source)) {
    throw new TypeError(`${where}: an address, a path, the platform's id, a URL, a file of turn.files, ` +
      `or { data, name } is wanted, not ${describe(source)}`)
  }
  const { id, url, data, name, mediaType } = source
  const json = { type: type ?? source.type ?? 'document' }
  if (!FILE_TYPES.includes(json.type)) {
    throw new TypeError(`${where}: type: one of ${FILE_TYPES.join(', ')} is wanted, not ${describe(json.type)}`)
  }
  if (data !== undefined) json.base64 = toBase64(data, name, where)
  else if (source.path !== undefined) json.path = path.resolve(wantText(source.path, `${where}: path`))
  else if (id) json.id = wantText(id, `${where}: id`)
  else if (url) json.url = url instanceof URL ? url.href : wantText(url, `${where}: url`)
  else throw new TypeError(`${where}: a file has an id, a url, a path or data`)
  if (name !== undefined) json.name = wantText(name, `${where}: name`)
  if (mediaType !== undefined) json.media_type = wantText(mediaType, `${where}: mediaType`)
  return json
}

function toSource(source, where) {
  if (source === '') throw new TypeError(`${where}: the address of a file is empty`)
  if (/^https?:\/\//i.test(source)) return { url: source }
  return source.startsWith('/') ? { path: source } : { id: source }
}

function toBase64(data, name, where) {
  if (!(data instanceof Uint8Array)) throw new TypeError(`${where}: data: a Buffer is wanted, not ${describe(data)}`)
  if (data.length > MAX_BYTES) {
    throw new RangeError(`${where}: ${data.length} bytes within a reply, which takes ${MAX_BYTES}: write them to the disk, and give their path`)
  }
  if (!name) throw new TypeError(`${where}: a file of bytes needs a name: { data, name }`)
  return Buffer.from(data.buffer, data.byteOffset, data.byteLength).toString('base64')
}

function toLocation(location, where) {
  const { latitude, longitude, title, address } = wantObject(location, where, '{ latitude, longitude }')
  for (const degrees of [latitude, longitude]) {
    if (!Number.isFinite(degrees)) throw new TypeError(`${where}: degrees are numbers, not ${describe(degrees)}`)
  }
  const json = { latitude, longitude }
  if (title !== undefined) json.title = wantText(title, `${where}: title`)
  if (address !== undefined) json.address = wantText(address, `${where}: address`)
  return json
}

function toContact(contact, where) {
  const { phone, name, userId } = wantObject(contact, where, '{ phone, name }')
  const json = { phone: wantText(phone, `${where}: phone`), name: wantText(name ?? '', `${where}: name`) }
  if (userId !== undefined) json.user_id = wantText(userId, `${where}: userId`)
  return json
}

function wantObject(value, where, example) {
  if (value === null || typeof value !== 'object' || Array.isArray(value)) {
    throw new TypeError(`${where}: ${example} is wanted, not ${describe(value)}`)
  }
  return value
}

/** Rows; what is no array where a row may be is a row of its own. */
function toRows(rows, where, toOne) {
  if (!Array.isArray(rows)) throw new TypeError(`${where}: an array of rows is wanted, not ${describe(rows)}`)
  const read = rows.map((row, i) => (Array.isArray(row)
    ? row.map((one, j) => toOne(one, `${where}[${i}][${j}]`))
    : [toOne(row, `${where}[${i}]`)]))
  return read.filter((row) => row.length > 0)
}

/** What a button does: the names of its fields, and those of the protocol. */
const DOES = { data: 'data', url: 'url', webApp: 'web_app', phone: 'phone', request: 'request' }

function toButton(button, where) {
  const json = readButton(button, where, '{ label, data }')
  if (Object.keys(json).length === 1) throw new TypeError(`${where}: a button under a message has data, url, webApp, phone or request`)
  return json
}

function toKey(key, where) {
  return typeof key === 'string' ? readButton({ label: key }, where) : readButton(key, where, 'a text or { label, request }')
}

function readButton(button, where, example) {
  wantObject(button, where, example)
  const json = { label: wantText(button.label, `${where}.label`) }
  if (json.label === '') throw new TypeError(`${where}.label: the text is empty`)
  for (const name of Object.keys(button)) {
    if (name === 'label' || button[name] === undefined) continue
    if (!Object.hasOwn(DOES, name)) throw new TypeError(`${where}: a button has no ${name}; it has label, ${Object.keys(DOES).join(', ')}`)
    if (Object.keys(json).length > 1) throw new TypeError(`${where}: a button does one thing: it has one of ${Object.keys(DOES).join(', ')}`)
    const value = wantText(button[name], `${where}.${name}`)
    if (value === '') throw new TypeError(`${where}.${name}: the text is empty`)
    if (name === 'request' && value !== 'contact' && value !== 'location') {
      throw new TypeError(`${where}.request: 'contact' or 'location' is wanted, not '${value}'`)
    }
    json[DOES[name]] = value
  }
  return json
}

function toName(name, where) {
  if (wantText(name, where) === '') throw new TypeError(`${where}: the name of a message is empty`)
  return name
}

/** Which message is meant: its name, true for the one of this turn, or `{ message: id }`. */
function toTarget(target, where) {
  if (target === true) return true
  if (typeof target === 'string') return toName(target, where)
  if (typeof target?.message === 'string' && target.message !== '') return { message: target.message }
  throw new TypeError(`${where}: the name of a message, true for the one of this turn, or { message: id } is wanted, not ${describe(target)}`)
}

module.exports = { Reply, toName, toReply, toTarget }
