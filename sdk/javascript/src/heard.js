// What came in: one update, and all that is in it.
//
// Every turn is one (turn.js), and so is each message of a turn that has several
// (`turn.updates`). Invariant: what the worker wrote is looked at when the author does.
'use strict'

const { escapeMarkup, readFiles, readPart } = require('./content.js')

/** The platform's own JSON; a Buffer where it sent something else. */
function readRaw(raw) {
  if (typeof raw?.base64 !== 'string' || Object.keys(raw).length !== 1) return raw
  return Buffer.from(raw.base64, 'base64')
}

class Heard {
  #message

  /** `message` is the protocol's `turn`, or one of its `updates`. */
  constructor(message) {
    this.#message = message
  }

  get text() { return this.#message.text }
  get kind() { return this.#message.kind }
  get event() { return this.#message.event ?? '' }
  get markup() { return this.#message.markup ?? escapeMarkup(this.#message.text) }
  get command() { return this.#message.command }
  get argument() { return this.#message.argument ?? '' }
  get button() { return this.#message.kind === 'button' ? this.#message.text : undefined }
  get files() { return readFiles(this.#message.files) }
  get photos() { return this.files.filter((file) => file.type === 'photo') }
  get location() { return readPart(this.#message.location) }
  get contact() { return readPart(this.#message.contact, { name: '' }) }
  get quoted() { return readPart(this.#message.quoted, { message: '', text: '' }) }
  get forwarded() { return readPart(this.#message.forwarded, { name: '' }) }
  get sender() { return readPart(this.#message.sender, { name: '' }) }
  get chat() { return readPart(this.#message.chat, { id: '', type: 'private' }) }
  get message() { return this.#message.message ?? '' }
  get album() { return this.#message.album ?? '' }
  get timer() {
    const { timer } = this.#message
    return timer && { name: timer.name, due: new Date(timer.due), late: timer.late ?? 0, data: timer.data ?? null }
  }

  get rpc() { return this.#message.rpc }

  get update() {
    const { update, kind, raw } = this.#message
    return { id: update, kind, raw: readRaw(raw) }
  }
}

module.exports = { Heard }
