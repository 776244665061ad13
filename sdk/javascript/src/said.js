// What a turn asked for, read back: a reply, an edit, a toast … in the form in which an author
// writes it.
//
// Called by turn.js for what was given up, and by testing.js for what a bot said.
'use strict'

const { camel, readFiles, readPart } = require('./content.js')

/** A reply or another action in the form in which an author writes it; one that is only a text is that text. */
function readSaid(json) {
  const { text, files, keyboard, buttons, ...others } = json
  const said = {}
  for (const [name, value] of Object.entries(others)) said[camel(name)] = value
  if (text) said.text = text
  if (files) said.files = readFiles(files).map(({ base64, ...file }) => (base64 === undefined ? file : { ...file, data: Buffer.from(base64, 'base64') }))
  if (said.contact) said.contact = readPart(said.contact)
  if (buttons) said.buttons = buttons.map(readRow)
  if (keyboard === 'remove') said.removeKeyboard = true
  else if (Array.isArray(keyboard)) said.keyboard = keyboard
  else if (keyboard) {
    said.keyboard = (keyboard.rows ?? keyboard.once).map(readRow)
    if (keyboard.once) said.once = true
  }
  const names = Object.keys(said)
  return names.length === 1 && names[0] === 'text' ? text : said
}

function readRow(row) {
  return Array.isArray(row) ? row.map((button) => readPart(button)) : readPart(row)
}

module.exports = { readSaid }
