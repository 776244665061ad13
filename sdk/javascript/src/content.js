// What can be in an update: files, places, people; in JavaScript's names and in those of the
// protocol.
//
// Called by turn.js when a handler looks, by reply.js and testing.js. Invariant: what a
// platform left out is undefined, or '' where it is a text that every platform should have.
'use strict'

/** What sort of file one is. */
const FILE_TYPES = ['photo', 'document', 'voice', 'audio', 'video', 'video_note', 'sticker', 'animation']

/** What can be heard. */
const KINDS = ['message', 'button', 'opened', 'joined', 'left', 'edited', 'reaction', 'inline', 'payment',
  'join_request', 'business', 'other']

/** `media_type` is `mediaType` to an author. */
function camel(name) {
  return name.replace(/_(\w)/g, (_, letter) => letter.toUpperCase())
}

function snake(name) {
  return name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)
}

/** A part of an update as an author reads it, with these fields if they were left out. */
function readPart(part, defaults) {
  if (part === undefined) return undefined
  const read = { ...defaults }
  for (const [name, value] of Object.entries(part)) read[camel(name)] = value
  return read
}

/** The same as the protocol has it. */
function writePart(part) {
  if (part === undefined) return undefined
  return Object.fromEntries(Object.entries(part).map(([name, value]) => [snake(name), value]))
}

function readFiles(files = []) {
  return files.map((file) => readPart(file, { type: 'photo' }))
}

/** A text in markup that shows just that. */
function escapeMarkup(text) {
  return text.replace(/[!#&()*+\-.:<=>[\\\]^_`{|}~]/g, '\\$&')
}

module.exports = { FILE_TYPES, KINDS, camel, escapeMarkup, readFiles, readPart, snake, writePart }
